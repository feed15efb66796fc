public import CVarveHeader
internal import Varve

@c @implementation
public func varve_object_create(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ size: UInt64, _ residency: Int32, _ message: UnsafePointer<CChar>!,
    _ object: UnsafeMutablePointer<varve_object_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        guard let residency = UInt8(exactly: residency).flatMap(Residency.init) else {
            throw StoreError(.invalid, "\(residency) is no residency", advice: "Give VARVE_OBJECT_SHARED or VARVE_OBJECT_EXCLUSIVE")
        }
        let name = try text(name, "the object's name")
        let message = try CVarve.message(message)
        let result = try required(object, "object")
        let made = try store.createObject(named: name, size: size, residency: residency, message: message)
        result.pointee = try newHandle(ObjectHandle(.object(made), of: store))
    }
}

@c @implementation
public func varve_object_of_file(
    _ store: varve_store_t!, _ file: UnsafePointer<CChar>!, _ name: UnsafePointer<CChar>!,
    _ object: UnsafeMutablePointer<varve_object_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let result = try required(object, "object")
        let found = try store.fileObject(path: try text(file, "the file"), named: try text(name, "the object's name"))
        result.pointee = try newHandle(ObjectHandle(.object(found), of: store))
    }
}

@c @implementation
public func varve_object_open(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ object: UnsafeMutablePointer<varve_object_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let result = try required(object, "object")
        let found = try store.object(named: try text(name, "the object's name"))
        result.pointee = try newHandle(ObjectHandle(.object(found), of: store))
    }
}

@c @implementation
public func varve_object_port(
    _ object: varve_object_t!, _ rights: vm_prot_t, _ port: UnsafeMutablePointer<varve_object_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let handle = try CVarve.object(object)
        let result = try required(port, "port")
        let rights = Protection(rawValue: rights)
        let made: ObjectPort
        switch handle.kind {
        case .object(let info): made = handle.store.port(to: info, rights: rights)
        case .managed(let object): made = object.port(rights: rights)
        case .port, .entry, .control:
            throw StoreError(.invalid, "a port is made of an object, not of a port or a memory entry", advice: "Open the object")
        }
        guard rights.isWellFormed else {
            throw StoreError(.invalid, "rights outside read, write and execute", advice: "Give bits of VM_PROT_ALL")
        }
        result.pointee = try newHandle(ObjectHandle(.port(made), of: handle.store))
    }
}

@c @implementation
public func varve_object_number(_ object: varve_object_t!, _ number: UnsafeMutablePointer<UInt64>!) -> Int32 {
    code { () throws(StoreError) in
        let result = try required(number, "number")
        if let object, let remote = HandleTable.shared.object(UnsafeRawPointer(object)) as? RemoteObjectHandle {
            result.pointee = remote.object.id.rawValue
            return
        }
        let handle = try CVarve.object(object)
        switch handle.kind {
        case .object(let info): result.pointee = info.id.rawValue
        case .port(let port): result.pointee = port.object.rawValue
        case .managed(let object): result.pointee = object.id.rawValue
        case .control(let object): result.pointee = object.object.rawValue
        case .entry: throw StoreError(.invalid, "a memory entry has no number", advice: "Ask varve_vm_region where it is mapped")
        }
    }
}

@c @implementation
public func varve_object_list(
    _ store: varve_store_t!, _ state: UnsafePointer<CChar>!, _ visitor: varve_object_visitor_t!, _ context: UnsafeMutableRawPointer!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let visitor = try required(visitor, "visitor")
        for object in try store.objects(at: try CVarve.state(state)) {
            let answer = object.name.withCString { name in
                var info = varve_object_info_t(
                    number: object.id.rawValue, size: object.size, born: object.born.rawValue,
                    residency: Int32(object.residency.rawValue), reserved: 0, name: name)
                return visitor(context, &info)
            }
            if answer != 0 { return }
        }
    }
}

@c @implementation
public func varve_object_resize(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ size: UInt64, _ message: UnsafePointer<CChar>!
) -> Int32 {
    code { () throws(StoreError) in
        try CVarve.store(store).resizeObject(try text(name, "the object's name"), to: size, message: try CVarve.message(message))
    }
}

@c @implementation
public func varve_object_rename(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ new_name: UnsafePointer<CChar>!, _ message: UnsafePointer<CChar>!
) -> Int32 {
    code { () throws(StoreError) in
        try CVarve.store(store).renameObject(
            try text(name, "the object's name"), to: try text(new_name, "the new name"), message: try CVarve.message(message))
    }
}

@c @implementation
public func varve_object_delete(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ message: UnsafePointer<CChar>!
) -> Int32 {
    code { () throws(StoreError) in
        try CVarve.store(store).deleteObject(try text(name, "the object's name"), message: try CVarve.message(message))
    }
}

@c @implementation
public func varve_object_clone(
    _ store: varve_store_t!, _ reference: UnsafePointer<CChar>!, _ name: UnsafePointer<CChar>!, _ message: UnsafePointer<CChar>!,
    _ object: UnsafeMutablePointer<varve_object_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let result = try required(object, "object")
        let made = try store.clone(
            try CVarve.reference(reference), as: try text(name, "the new name"), message: try CVarve.message(message))
        result.pointee = try newHandle(ObjectHandle(.object(made), of: store))
    }
}

@c @implementation
public func varve_object_size(
    _ store: varve_store_t!, _ reference: UnsafePointer<CChar>!, _ size: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        try required(size, "size").pointee = try store.size(of: try CVarve.reference(reference))
    }
}
