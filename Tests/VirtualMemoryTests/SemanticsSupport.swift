import Synchronization
import TestSupport
import Testing
import Varve

/// A store with a task, and ways to ask for the code of a call.
struct Bench {
    /// Closes every store that was opened: each takes a terabyte of addresses.
    private final class Opened: Sendable {
        let stores = Mutex<[Store]>([])
        deinit { stores.withLock { for store in $0 { try? store.close() } } }
    }

    private let opened = Opened()
    let fixture = StoreFixture()
    let store: Store
    let task: VMTask
    let base: UInt64
    static let page: UInt64 = 4096

    init(_ options: Store.OpenOptions = .init()) throws {
        try fixture.create()
        store = try fixture.open(options)
        opened.stores.withLock { [store] in $0.append(store) }
        task = try store.task(named: "main")
        base = task.windowBase
        try store.commit()
    }

    /// Opens the store once more, after it was closed.
    func reopened(_ options: Store.OpenOptions) throws -> Store {
        let again = try fixture.open(options)
        opened.stores.withLock { $0.append(again) }
        return again
    }

    /// The code of a call.
    func code(_ body: () throws -> Void) -> KernReturn {
        do {
            try body()
            return .success
        } catch let error as VMError { return error.code } catch {
            Issue.record("\(error)")
            return .failure
        }
    }

    /// The code of a call, after checking that one that fails changed no map, and left nothing for a commit.
    func refused(_ body: () throws -> Void, sourceLocation: SourceLocation = #_sourceLocation) throws -> KernReturn {
        let before = task.entries
        let isChanged = try store.hasUncommittedChanges()
        let result = code(body)
        #expect(result != .success, sourceLocation: sourceLocation)
        #expect(task.entries == before, sourceLocation: sourceLocation)
        #expect(try store.hasUncommittedChanges() == isChanged, sourceLocation: sourceLocation)
        return result
    }

    /// A named object, or one that is deleted.
    func object(_ name: String, pages: Int = 4, dead: Bool = false) throws -> ObjectInfo {
        let object = try store.createObject(named: name, size: UInt64(pages) * Self.page)
        if dead { try store.deleteObject(name) }
        return object
    }

    func word(_ address: UInt64, of task: VMTask? = nil) -> Int { (task ?? self.task).pointer(address).load(as: Int.self) }

    func set(_ address: UInt64, _ value: Int, of task: VMTask? = nil) {
        (task ?? self.task).pointer(address).storeBytes(of: value, as: Int.self)
    }

    /// Words at the starts of pages.
    func words(_ address: UInt64, _ count: Int, of task: VMTask? = nil) -> [Int] {
        (0..<UInt64(count)).map { word(address + $0 * Self.page, of: task) }
    }

    func fill(_ address: UInt64, _ values: [Int], of task: VMTask? = nil) {
        for (index, value) in values.enumerated() { set(address + UInt64(index) * Self.page, value, of: task) }
    }
}

/// Protections and flags that no call takes.
let malformedProtections = [Protection(rawValue: 8), Protection(rawValue: 9), Protection(rawValue: -1), Protection(rawValue: .max)]
