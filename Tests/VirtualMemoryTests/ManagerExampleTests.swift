import Foundation
import TestSupport
import Testing
import Varve

/// Pages that are computed: word n of the object is n squared.
struct Squares: MemoryManager {
    func dataRequest(_ request: DataRequest) throws {
        let first = request.offset / 8
        try (0..<UInt64(request.length / 8)).map { (first + $0) &* (first + $0) }
            .withUnsafeBytes { try request.supply($0) }
    }
}

/// docs/ARCHITECTURE.md's memory manager: it stands here word for word, so that it compiles, and it does what it says.
@Suite struct ManagerExampleTests {
    private func example(_ store: Store, _ task: VMTask) throws -> UInt64 {
        let squares = try store.makeObject(size: 1 << 40, manager: Squares(), rights: .read)
        let address = try task.map(size: 1 << 30, object: squares, current: .read, maximum: .read)
        return task.pointer(address).assumingMemoryBound(to: UInt64.self)[1_000_000]   // 1,000,000,000,000
    }

    @Test func itRuns() throws {
        // Where nothing fills on demand, all that is mapped is asked for: a gigabyte here.
        guard HostCapabilities.current.demandFaults else { return }
        let fixture = StoreFixture()
        try fixture.create()
        let store = try fixture.open()
        #expect(try example(store, try store.task(named: "main")) == 1_000_000_000_000)
        try store.close()
    }

    @Test(arguments: everyMode)
    func computedPages(_ options: Store.OpenOptions) throws {
        let fixture = StoreFixture()
        try fixture.create()
        let store = try fixture.open(options)
        let task = try store.task(named: "main")
        let object = try store.makeObject(size: 300 * 4096, manager: Squares())
        let address = try task.map(size: 300 * 4096, object: object)
        let words = task.pointer(address).assumingMemoryBound(to: UInt64.self)
        for index in stride(from: 0, to: 300 * 512, by: 101) { #expect(words[index] == UInt64(index * index)) }
        // It takes nothing back.
        words[0] = 1
        #expect { try store.commit() } throws: { ($0 as? StoreError)?.code == .notReturned }
        try store.close()
    }

    @Test func thePageShowsIt() throws {
        let here = URL(fileURLWithPath: #filePath)
        let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let page = try String(contentsOf: root.appendingPathComponent("docs/ARCHITECTURE.md"), encoding: .utf8)
        let blocks = page.components(separatedBy: "```swift\n").dropFirst().compactMap { $0.components(separatedBy: "```").first }
        func lines(_ text: String) -> [String] {
            text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        }
        let source = lines(try String(contentsOf: here, encoding: .utf8))
        #expect(blocks.count >= 2)
        for block in blocks {
            let wanted = lines(block)
            let isThere = source.indices.contains { source[$0...].starts(with: wanted) }
            #expect(isThere, "this block of docs/ARCHITECTURE.md is not in this file: \(block)")
        }
    }
}
