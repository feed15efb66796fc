public import CVarveHeader
internal import Varve

@c @implementation
public func varve_memory_object_create(
    _ store: varve_store_t!, _ size: UInt64, _ rights: vm_prot_t, _ manager: UnsafePointer<varve_manager_t>!,
    _ attributes: UnsafePointer<varve_manager_attributes_t>!, _ object: UnsafeMutablePointer<varve_object_t?>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let store = try storeArgument(store)
        let result = try pointer(object, "object")
        let functions = try functions(try pointer(manager, "manager"))
        let rights = Protection(rawValue: rights)
        guard rights.isWellFormed else { throw VMError(.invalidArgument, "rights outside read, write and execute") }
        let made = try store.makeObject(
            size: size, manager: FunctionManager(functions, of: store), rights: rights,
            attributes: try CVarve.attributes(attributes))
        result.pointee = try newHandle(ofTask: ObjectHandle(.managed(made), of: store))
    }
}

@c @implementation
public func varve_memory_object_of_file(
    _ store: varve_store_t!, _ file: UnsafePointer<CChar>!, _ writable: boolean_t,
    _ attributes: UnsafePointer<varve_manager_attributes_t>!, _ object: UnsafeMutablePointer<varve_object_t?>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let store = try storeArgument(store)
        let result = try pointer(object, "object")
        guard let path = String(validatingCString: try pointer(file, "file")) else {
            throw VMError(.invalidArgument, "the file's path is not UTF-8")
        }
        let made = try store.makeObject(ofFile: path, writable: writable != 0, attributes: try CVarve.attributes(attributes))
        result.pointee = try newHandle(ofTask: ObjectHandle(.managed(made), of: store))
    }
}

@c @implementation
public func varve_memory_object_lock_request(
    _ object: varve_object_t!, _ offset: vm_offset_t, _ size: vm_size_t, _ should_return: boolean_t, _ should_flush: boolean_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        var actions: MemoryObjectControl.LockActions = []
        if should_return != 0 { actions.insert(.return) }
        if should_flush != 0 { actions.insert(.flush) }
        try control(object).lockRequest(offset: offset, size: size, actions)
    }
}

@c @implementation
public func varve_memory_object_change_attributes(
    _ object: varve_object_t!, _ attributes: UnsafePointer<varve_manager_attributes_t>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let control = try control(object)
        try control.changeAttributes(try CVarve.attributes(try pointer(attributes, "attributes")))
    }
}

@c @implementation
public func varve_memory_object_get_attributes(
    _ object: varve_object_t!, _ attributes: UnsafeMutablePointer<varve_manager_attributes_t>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let control = try control(object)
        let result = try pointer(attributes, "attributes")
        try requireSize(result.pointee.size)
        let known = control.attributes
        result.pointee = varve_manager_attributes_t(
            size: UInt64(MemoryLayout<varve_manager_attributes_t>.size), deadline_ms: UInt32((known.deadline * 1000).rounded()),
            cluster_pages: UInt32(known.clusterPages))
    }
}

@c @implementation
public func varve_memory_object_destroy(_ object: varve_object_t!, _ reason: UnsafePointer<CChar>!) -> kern_return_t {
    kernReturn { () throws(VMError) in
        try control(object).destroy(reason: reason.map { String(cString: $0) } ?? "its manager destroyed it")
    }
}

@c @implementation
public func varve_memory_object_terminate(_ object: varve_object_t!) -> kern_return_t {
    kernReturn { () throws(VMError) in try control(object).terminate() }
}

// MARK: Arguments

private func pointer<Pointer>(_ pointer: Pointer?, _ what: String) throws(VMError) -> Pointer {
    guard let pointer else { throw VMError(.invalidArgument, "\(what) is NULL") }
    return pointer
}

/// The store of a handle, for calls that answer Mach's codes. A forked child has none.
private func storeArgument(_ handle: OpaquePointer?) throws(VMError) -> Store {
    do throws(StoreError) { return try CVarve.store(handle) } catch { throw VMError(.invalidArgument, error.message) }
}

/// A managed object, by its owner's handle or its manager's.
private func control(_ handle: OpaquePointer?) throws(VMError) -> MemoryObjectControl {
    let found: ObjectHandle
    do throws(StoreError) { found = try object(handle) } catch { throw VMError(.invalidObject, error.message) }
    switch found.kind {
    case .managed(let object): return object.control
    case .control(let control): return control
    case .object, .port, .entry: throw VMError(.invalidObject, "the handle is of an object that no memory manager serves")
    }
}

/// What a manager does. A later header's may be longer, and say nothing there.
private func functions(_ manager: UnsafePointer<varve_manager_t>) throws(VMError) -> varve_manager_t {
    let known = MemoryLayout<varve_manager_t>.size
    let size = manager.pointee.size
    guard size >= UInt64(known), size <= 4096 else {
        throw VMError(.invalidArgument, "manager->size is \(size): set it to sizeof(varve_manager_t)")
    }
    guard manager.pointee.data_request != nil else { throw VMError(.invalidArgument, "manager->data_request is NULL") }
    let rest = UnsafeRawBufferPointer(start: UnsafeRawPointer(manager) + known, count: Int(size) - known)
    guard rest.allSatisfy({ $0 == 0 }) else {
        throw VMError(.notSupported, "the manager has functions that version \(VARVE_VERSION) of the library does not call")
    }
    return manager.pointee
}

private func requireSize(_ size: UInt64) throws(VMError) {
    guard size >= UInt64(MemoryLayout<varve_manager_attributes_t>.size) else {
        throw VMError(.invalidArgument, "attributes->size is \(size): set it to sizeof(varve_manager_attributes_t)")
    }
}

/// How an object is asked for; NULL is as usual.
private func attributes(_ attributes: UnsafePointer<varve_manager_attributes_t>?) throws(VMError) -> ManagerAttributes {
    guard let attributes = attributes?.pointee else { return ManagerAttributes() }
    try requireSize(attributes.size)
    return ManagerAttributes(deadline: Double(attributes.deadline_ms) / 1000, clusterPages: Int(attributes.cluster_pages))
}
