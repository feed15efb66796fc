internal import CVarveHeader
internal import Synchronization
internal import Varve

/// The memory manager of one object, whose doings are a C program's functions.
final class FunctionManager: MemoryManager {
    /// A function said no, in its words.
    private struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    /// By their bits: a pointer is not Sendable.
    private struct Handles {
        var object: UInt = 0
        /// Requests that were not answered when they were looked at last, and perhaps others.
        var requests: [UInt] = []
        /// How many there may be before they are looked at.
        var limit = 64
    }

    /// Addresses of code, and the program's word that its context may be used by any thread.
    private nonisolated(unsafe) let functions: varve_manager_t
    private let store: Store
    private let handles = Mutex(Handles())

    init(_ functions: varve_manager_t, of store: Store) {
        self.functions = functions
        self.store = store
    }

    deinit { endHandles() }

    func initialize(_ object: MemoryObjectControl) throws {
        let handle = try newHandle(ObjectHandle(.control(object), of: store))
        let bits = UInt(bitPattern: handle)
        handles.withLock { $0.object = bits }
        try succeed(functions.`init`?(functions.context, handle))
    }

    func dataRequest(_ request: DataRequest) throws {
        let handle = try newHandle(RequestHandle(request))
        let bits = UInt(bitPattern: handle)
        handles.withLock { handles in
            if handles.requests.count >= handles.limit {
                handles.requests.removeAll { !RequestHandle.isOpen($0) }
                handles.limit = max(64, 2 * handles.requests.count)
            }
            handles.requests.append(bits)
        }
        guard let reason = functions.data_request(functions.context, object, handle, request.offset, UInt64(request.length))
        else { return }
        // Its words come before its letting go of the request.
        try? request.fail(String(cString: reason))
        endHandle(handle)
    }

    func dataReturn(_ pages: ReturnedPages) throws {
        guard let take = functions.data_return else { throw Refusal(description: "the manager takes no pages back") }
        var runs: [varve_returned_run_t] = []
        pages.forEachRun { (offset, bytes) throws(Never) in
            runs.append(varve_returned_run_t(offset: offset, size: UInt64(bytes.count), data: bytes.baseAddress))
        }
        let object = object
        try withExtendedLifetime(pages) {
            try runs.withUnsafeBufferPointer { runs in
                var returned = varve_returned_t(
                    version: pages.version.rawValue, count: UInt64(runs.count), runs: runs.baseAddress)
                try succeed(take(functions.context, object, &returned))
            }
        }
    }

    func terminate(_: ObjectID) {
        functions.terminate?(functions.context, object)
        endHandles()
    }

    /// The handle that the functions are given; `initialize` made it.
    private var object: OpaquePointer? { OpaquePointer(bitPattern: handles.withLock { $0.object }) }

    private func succeed(_ reason: UnsafePointer<CChar>?) throws {
        if let reason { throw Refusal(description: String(cString: reason)) }
    }

    /// What the program kept of the object means nothing any more.
    private func endHandles() {
        let ended = handles.withLock { handles in
            defer { handles = Handles() }
            return handles.requests + [handles.object]
        }
        for handle in ended.compactMap({ OpaquePointer(bitPattern: $0) }) { endHandle(handle) }
    }
}

/// What a handle of a request names.
final class RequestHandle: Sendable {
    let request: DataRequest
    init(_ request: DataRequest) { self.request = request }

    /// Whether an answer to it would count; ends the handle where not.
    static func isOpen(_ bits: UInt) -> Bool {
        guard let handle = OpaquePointer(bitPattern: bits),
            let found = HandleTable.shared.object(UnsafeRawPointer(handle)) as? RequestHandle
        else { return false }
        if found.request.isOpen { return true }
        endHandle(handle)
        return false
    }
}
