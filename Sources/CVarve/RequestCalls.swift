public import CVarveHeader
internal import Varve

@c @implementation
public func varve_memory_object_data_supply(
    _ request: varve_request_t!, _ data: UnsafeRawPointer!, _ size: UInt64
) -> kern_return_t {
    answer(request) { (request) throws(VMError) in
        guard let data, let count = Int(exactly: size) else {
            // It is told that it was answered with a number of bytes that is none.
            return try request.supply(UnsafeRawBufferPointer(start: nil, count: 0))
        }
        try request.supply(UnsafeRawBufferPointer(start: data, count: count))
    }
}

@c @implementation
public func varve_memory_object_data_unavailable(_ request: varve_request_t!) -> kern_return_t {
    answer(request) { (request) throws(VMError) in try request.unavailable() }
}

@c @implementation
public func varve_memory_object_data_error(_ request: varve_request_t!, _ reason: UnsafePointer<CChar>!) -> kern_return_t {
    answer(request) { (request) throws(VMError) in
        try request.fail(reason.map { String(cString: $0) } ?? "its manager gave no reason")
    }
}

/// Answers a request, and ends its handle.
private func answer(_ handle: OpaquePointer?, _ body: (DataRequest) throws(VMError) -> Void) -> kern_return_t {
    kernReturn { () throws(VMError) in
        guard let handle else { throw VMError(.invalidArgument, "the request is NULL") }
        guard let found = HandleTable.shared.object(UnsafeRawPointer(handle)) as? RequestHandle else {
            guard HandleTable.shared.hasEnded(UnsafeRawPointer(handle)) else {
                throw VMError(.invalidArgument, "0x\(String(UInt(bitPattern: handle), radix: 16)) is no handle of a request")
            }
            throw VMError(.operationTimedOut, "the request has ended before")
        }
        defer { endHandle(handle) }
        try body(found.request)
    }
}
