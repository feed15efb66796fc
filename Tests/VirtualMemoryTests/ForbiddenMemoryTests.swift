import TestSupport
import Testing
import Varve

/// Memory that no thread may access is memory all the same: what is committed, dropped, copied and inherited is its bytes.
@Suite struct ForbiddenMemoryTests {
    private let page = Bench.page
    private let pages = 24

    /// Words 1… committed, of which the first half is 1001… since; none of it may be accessed.
    private func bench(_ options: Store.OpenOptions, _ residency: Residency, _ protection: Protection) throws
        -> (bench: Bench, object: ObjectInfo, address: UInt64, words: [Int])
    {
        let bench = try Bench(options)
        let object = try bench.store.createObject(named: "a", size: UInt64(pages) * page, residency: residency)
        let address = try bench.task.map(size: object.size, object: object)
        bench.fill(address, Array(1...pages))
        try bench.store.commit()
        bench.fill(address, Array(1001...1000 + pages / 2))
        try bench.task.protect(address: address, size: object.size, protection)
        return (bench, object, address, Array(1001...1000 + pages / 2) + Array(pages / 2 + 1...pages))
    }

    @Test(arguments: everyMode, [Residency.shared, .exclusive])
    func whatIsUncommittedIsDropped(_ options: Store.OpenOptions, _ residency: Residency) throws {
        for (protection, flags) in [(Protection.none, SyncFlags.invalidate), (.read, .killPages)] {
            let (bench, object, address, words) = try bench(options, residency, protection)
            try bench.task.sync(address: address, size: 3 * page, flags)
            #expect(try bench.task.region(address).current == protection)
            try bench.task.protect(address: address, size: object.size, .default)
            #expect(bench.words(address, pages) == [1, 2, 3] + words[3...])
            try bench.store.close()
        }
    }

    @Test(arguments: everyMode, [Residency.shared, .exclusive])
    func itIsCopiedAndInherited(_ options: Store.OpenOptions, _ residency: Residency) throws {
        for protection in [Protection.none, .read] {
            let (bench, object, address, words) = try bench(options, residency, protection)
            let child = try bench.task.createChild(named: "child")
            let inherited = address - bench.task.windowBase + child.windowBase
            #expect(child.entries.map(\.current) == [protection])
            let mapped = try bench.task.map(size: object.size, object: object, copy: true)
            let made = try bench.task.remap(size: object.size, source: bench.task, sourceAddress: address, copy: true)
            #expect(made.current == protection && made.maximum == .all)
            try bench.task.protect(address: made.address, size: object.size, .default)
            try child.protect(address: inherited, size: object.size, .default)
            for copy in [mapped, made.address] { #expect(bench.words(copy, pages) == words) }
            #expect(bench.words(inherited, pages, of: child) == words)
            try bench.store.commit()
            try bench.task.protect(address: address, size: object.size, .default)
            bench.fill(address, [Int](repeating: -1, count: pages))
            #expect(bench.words(inherited, pages, of: child) == words && bench.words(made.address, pages) == words)
            try bench.store.close()
        }
    }

    @Test(arguments: everyMode)
    func whatMayBeWrittenAloneIsWrittenAndNotRead(_ options: Store.OpenOptions) throws {
        let (bench, _, address, _) = try bench(options, .shared, .write)
        let task = bench.task
        try [UInt8](repeating: 9, count: 8).withUnsafeBytes { try task.write(address: address, $0) }
        try task.setBehavior(address: address + page, size: page, .zero)
        let other = try task.allocate(size: page)
        bench.set(other, 77)
        try task.copy(source: other, size: page, destination: address + 2 * page)
        try bench.store.commit()
        #expect(try bench.refused { _ = try task.read(address: address, size: 1) } == .protectionFailure)
        #expect(try bench.refused { try task.copy(source: address, size: page, destination: other) } == .protectionFailure)
        try task.protect(address: address, size: 4 * page, .read)
        #expect(bench.words(address, 4) == [0x0909_0909_0909_0909, 0, 77, 1004])
        #expect(try bench.refused { try task.setBehavior(address: address, size: page, .zero) } == .protectionFailure)
        try bench.store.close()
    }
}
