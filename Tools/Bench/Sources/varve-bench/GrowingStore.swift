import Foundation
import Varve

/// A store that is made larger in one respect, with a mapped object of 16 MiB that is none of what grows.
final class GrowingStore {
    private static let probePages = 4096
    private static let page = UInt64(Page.size)

    private let path: String
    private var store: Store
    private var task: VMTask
    private var address: UInt64
    private var pages = RandomPages(seed: 7, count: probePages)
    /// The object whose pages are timed: the probe, or the large one.
    private var subject = "probe"
    private var size = 0
    private var serial = 0

    init(_ path: String) throws {
        self.path = path
        try Store.create(path)
        store = try Store.open(path)
        let object = try store.createObject(named: "probe", size: UInt64(Self.probePages) * Self.page, residency: .exclusive)
        task = try store.task(named: "bench")
        address = try task.map(size: UInt64(Self.probePages) * Self.page, object: object)
        for page in 0..<Self.probePages { pages.write(page, task.pointer(address)) }
        try store.commit()
    }

    func close() throws { try store.close() }

    // MARK: Growing

    func growObjects(to count: Int, _ told: (Int) -> Void) throws {
        while size < count {
            _ = try store.createObject(named: "object \(size)", size: 1 << 20)
            size += 1
            told(size)
        }
    }

    func growSnapshots(to count: Int, _ told: (Int) -> Void) throws {
        while size < count {
            change()
            try store.commit(durability: .deferred, declaredOnly: true, snapshot: "kept \(size)")
            size += 1
            told(size)
        }
    }

    func growCommits(to count: Int, _ told: (Int) -> Void) throws {
        while size < count {
            change()
            try store.commit(durability: .deferred, declaredOnly: true)
            size += 1
            told(size)
        }
    }

    /// An object of that size, with a page in each of a thousand parts of it, of which the last GiB is mapped.
    func growObject(toGiB count: Int) throws {
        let bytes = UInt64(count) << 30, mapped: UInt64 = 1 << 30
        if subject == "probe" {
            try task.deallocate(address: address, size: UInt64(Self.probePages) * Self.page)
        } else {
            try task.deallocate(address: address, size: mapped)
        }
        subject = "large \(count)"
        let object = try store.createObject(named: subject, size: bytes, residency: .exclusive)
        try store.commit()
        let content = [UInt8](repeating: 3, count: Page.size)
        for part in 0..<250 {
            var rest: [UInt8]? = content
            _ = try store.write(subject, offset: bytes / 250 * UInt64(part) & ~(Self.page - 1)) {
                defer { rest = nil }
                return rest
            }
        }
        address = try task.map(size: mapped, object: object, offset: bytes - mapped)
        try store.commit()
    }

    /// Writes a page of the mapped object, and says so.
    private func change() {
        let page = pages.nextPage()
        pages.write(page, task.pointer(address))
        task.touch(address: address + UInt64(page) * Self.page, size: Self.page)
    }

    // MARK: Timing

    /// Times each operation so many times, in turn.
    func timeOperations(rounds: Int) throws -> [(name: String, times: Times)] {
        // What was committed without waiting is not the head yet.
        try store.flush()
        var names: [String] = [], all: [String: Times] = [:]
        @discardableResult func time<Result>(_ name: String, _ body: () throws -> Result) throws -> Result {
            let (result, seconds) = try timed(body)
            if all[name] == nil { names.append(name) }
            all[name, default: Times()].add(seconds)
            return result
        }
        var buffer = [UInt8](repeating: 0, count: Page.size)
        for _ in 0..<rounds {
            serial += 1
            change()
            let before = try store.version(of: .head)
            let after = try time("commit of a page") { try store.commit(declaredOnly: true) }
            try time("named snapshot") { _ = try store.createSnapshot("timed \(serial)") }
            try time("reading a page of a snapshot") {
                try buffer.withUnsafeMutableBytes { bytes in
                    _ = try store.read(.init(name: subject, state: .snapshot("timed \(serial)")), offset: 0, into: bytes)
                }
            }
            try time("difference of a page") { _ = try store.diff(.version(before), .version(after), object: subject) }
            try time("clone of an object") { _ = try store.clone(.init(name: subject), as: "clone \(serial)") }
            try time("rollback of an object") {
                _ = try store.rollback(to: .version(before), object: subject)
            }
            try time("deletion of an object") { _ = try store.deleteObject("clone \(serial)") }
            try time("deletion of a snapshot") { try store.deleteSnapshot("timed \(serial)") }
            try time("new object") { _ = try store.createObject(named: "new \(serial)", size: 1 << 20) }
            try time("looking up an object") { _ = try store.object(named: "new \(serial)") }
            _ = try store.deleteObject("new \(serial)")
        }
        for _ in 0..<max(rounds / 3, 3) {
            try time("closing") { try store.close() }
            try time("opening, attaching, a load") {
                store = try Store.open(path)
                task = try store.task(named: "bench")
                _ = task.pointer(address).load(as: UInt64.self)
            }
        }
        return names.map { ($0, all[$0] ?? Times()) }
    }
}
