public import CVarveHeader
internal import Glibc
internal import Varve

@c @implementation
public func varve_read(
    _ store: varve_store_t!, _ reference: UnsafePointer<CChar>!, _ offset: UInt64, _ buffer: UnsafeMutableRawPointer!, _ size: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let reference = try CVarve.reference(reference)
        let target = UnsafeMutableRawBufferPointer(start: size == 0 ? nil : try required(buffer, "buffer"), count: try bytes(size))
        let read = try store.read(reference, offset: offset, into: target)
        count?.pointee = Int(read)
    }
}

@c @implementation
public func varve_write(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ offset: UInt64, _ bytes: UnsafeRawPointer!, _ size: Int,
    _ message: UnsafePointer<CChar>!, _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let name = try text(name, "the object's name")
        let message = try CVarve.message(message)
        var rest = UnsafeRawBufferPointer(start: size == 0 ? nil : try required(bytes, "bytes"), count: try CVarve.bytes(size))
        let report = try store.write(
            name, offset: offset,
            from: { () throws(StoreError) in
                if rest.isEmpty { return nil }
                let piece = rest.prefix(1 << 20)
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(piece.count))
                return [UInt8](piece)
            }, message: message)
        version?.pointee = report.version.rawValue
    }
}

/// size_t, which Swift takes for signed.
private func bytes(_ size: Int) throws(StoreError) -> Int {
    guard size >= 0 else { throw StoreError(.invalid, "\(UInt(bitPattern: size)) bytes are more than memory has") }
    return size
}

@c @implementation
public func varve_import(
    _ store: varve_store_t!, _ file: UnsafePointer<CChar>!, _ name: UnsafePointer<CChar>!, _ message: UnsafePointer<CChar>!,
    _ object: UnsafeMutablePointer<varve_object_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let report = try store.importFile(
            try text(file, "the file"), named: try text(name, "the object's name"), message: try CVarve.message(message))
        if let object { object.pointee = try newHandle(ObjectHandle(.object(report.object), of: store)) }
    }
}

@c @implementation
public func varve_export(
    _ store: varve_store_t!, _ reference: UnsafePointer<CChar>!, _ file: UnsafePointer<CChar>!, _ overwrite: boolean_t
) -> Int32 {
    code { () throws(StoreError) in
        try CVarve.store(store).export(try CVarve.reference(reference), to: try text(file, "the file"), overwrite: overwrite != 0)
    }
}

@c @implementation
public func varve_state_map(
    _ store: varve_store_t!, _ reference: UnsafePointer<CChar>!, _ state: UnsafeMutablePointer<varve_state_t?>!,
    _ bytes: UnsafeMutablePointer<UnsafeRawPointer?>!, _ size: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let result = try required(state, "state")
        let place = try required(bytes, "bytes")
        let length = try required(size, "size")
        let mapped = try store.mapState(try CVarve.reference(reference))
        result.pointee = try newHandle(StateHandle(mapped))
        place.pointee = mapped.bytes.baseAddress
        length.pointee = UInt64(mapped.bytes.count)
    }
}
