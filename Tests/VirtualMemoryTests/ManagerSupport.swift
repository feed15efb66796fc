import Foundation
import Synchronization
import Varve

/// A manager whose doings a test gives it, and which keeps what it was told.
final class TestManager: MemoryManager {
    enum Event: Equatable {
        case initialize
        case request(offset: UInt64, length: Int)
        case returned(version: Version, offsets: [UInt64])
        case terminate
    }

    let events = Mutex<[Event]>([])
    let pages = Mutex<[UInt64: [UInt8]]>([:])
    let control = Mutex<MemoryObjectControl?>(nil)
    private let onInitialize: @Sendable () throws -> Void
    private let onRequest: (@Sendable (DataRequest) throws -> Void)?
    private let onReturn: @Sendable (ReturnedPages) throws -> Void

    /// Without `onRequest`, it keeps what is returned, and gives each page filled with its number before that.
    init(
        onRequest: (@Sendable (DataRequest) throws -> Void)? = nil, onInitialize: @escaping @Sendable () throws -> Void = {},
        onReturn: @escaping @Sendable (ReturnedPages) throws -> Void = { _ in }
    ) {
        self.onInitialize = onInitialize
        self.onRequest = onRequest
        self.onReturn = onReturn
    }

    func initialize(_ object: MemoryObjectControl) throws {
        events.withLock { $0.append(.initialize) }
        control.withLock { $0 = object }
        try onInitialize()
    }

    func dataRequest(_ request: DataRequest) throws {
        events.withLock { $0.append(.request(offset: request.offset, length: request.length)) }
        if let onRequest { return try onRequest(request) }
        try give(request)
    }

    func give(_ request: DataRequest) throws {
        var bytes: [UInt8] = []
        for page in 0..<request.length / 4096 {
            let offset = request.offset + UInt64(page * 4096)
            bytes += pages.withLock { $0[offset] } ?? [UInt8](repeating: Self.value(offset), count: 4096)
        }
        try request.supply(bytes)
    }

    static func value(_ offset: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: offset >> 12 &+ 1) }

    func dataReturn(_ returned: ReturnedPages) throws {
        var offsets: [UInt64] = []
        returned.forEachRun { (offset, bytes) in
            for start in stride(from: 0, to: bytes.count, by: 4096) { offsets.append(offset + UInt64(start)) }
        }
        events.withLock { $0.append(.returned(version: returned.version, offsets: offsets)) }
        try onReturn(returned)
        returned.forEachRun { (offset, bytes) in
            for start in stride(from: 0, to: bytes.count, by: 4096) {
                var page = [UInt8](bytes[start..<min(bytes.count, start + 4096)])
                page += [UInt8](repeating: 0, count: 4096 - page.count)
                pages.withLock { $0[offset + UInt64(start)] = page }
            }
        }
    }

    func terminate(_ object: ObjectID) { events.withLock { $0.append(.terminate) } }

    var requests: [Event] { events.withLock { $0.filter { if case .request = $0 { true } else { false } } } }
    var returns: [Event] { events.withLock { $0.filter { if case .returned = $0 { true } else { false } } } }

    /// Waits for an event; false after ten seconds.
    func waits(for event: Event) -> Bool { eventually { self.events.withLock { $0.contains(event) } } }
}

/// Whether something becomes true within ten seconds.
func eventually(_ isTrue: () -> Bool) -> Bool {
    for _ in 0..<2000 {
        if isTrue() { return true }
        usleep(5000)
    }
    return isTrue()
}

struct Complaint: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// What a call threw.
func failure(_ body: () throws -> Void) -> VMError? {
    do {
        try body()
        return nil
    } catch { return error as? VMError }
}

/// The ways of opening a store that fill pages when they are touched.
let fillingModes = everyMode.filter { $0.demandFill == true }
