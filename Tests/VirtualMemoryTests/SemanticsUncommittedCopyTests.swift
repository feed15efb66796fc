import Dispatch
import Synchronization
import TestSupport
import Testing
import Varve

/// Copies of what no commit has taken yet: their bytes are there at the call, untouched, touched, committed and reopened.
@Suite struct SemanticsUncommittedCopyTests {
    let page = Bench.page
    let pages = 600

    /// A task with a source of an odd size: all committed, or some of it, and `changed` of it changed since.
    private func bench(_ options: Store.OpenOptions, _ changed: [Int], isCommitted: Bool = true) throws
        -> (Bench, object: ObjectInfo, source: UInt64)
    {
        let bench = try Bench(options)
        let object = try bench.store.createObject(named: "source", size: UInt64(pages) * page - 1000)
        let source = try bench.task.map(size: UInt64(pages) * page, object: object)
        if isCommitted { bench.fill(source, Array(1...pages)) }
        try bench.store.commit()
        for index in changed { bench.set(source + UInt64(index) * page, 10_000 + index) }
        return (bench, object, source)
    }

    private let scattered = [0, 3, 4, 5, 63, 64, 128, 255, 256, 299, 500, 501, 599]

    private func wanted(_ changed: [Int], isCommitted: Bool = true) -> [Int] {
        (0..<pages).map { changed.contains($0) ? 10_000 + $0 : isCommitted ? $0 + 1 : 0 }
    }

    @Test(arguments: everyMode, [false, true])
    func theChangedPagesAreInTheCopy(_ options: Store.OpenOptions, _ isCommitted: Bool) throws {
        let (bench, object, source) = try bench(options, scattered, isCommitted: isCommitted)
        let wanted = wanted(scattered, isCommitted: isCommitted)
        let copies = try (0..<3).map { _ in try bench.task.map(size: UInt64(pages) * page, object: object, copy: true) }
        bench.fill(source, Array(repeating: -1, count: pages))
        #expect(bench.words(copies[0], pages) == wanted)
        // Stored to before anything of the page was read: the rest of the page is the source's all the same.
        for index in [3, 64, 300] { bench.set(copies[1] + UInt64(index) * page + 8, -7) }
        try bench.store.commit()
        for copy in copies { #expect(bench.words(copy, pages) == wanted) }
        try bench.store.close()
        let store = try bench.reopened(options), task = try store.task(named: "main")
        for copy in copies { #expect(bench.words(copy, pages, of: task) == wanted) }
        for index in [3, 64, 300] { #expect(bench.word(copies[1] + UInt64(index) * page + 8, of: task) == -7) }
        #expect(bench.word(copies[2] + 3 * page + 8, of: task) == 0)
        #expect(try store.verify { _ in }.findings == 0)
    }

    @Test(arguments: everyMode)
    func aPartOfAnObjectIsCopiedWithWhatChangedInIt(_ options: Store.OpenOptions) throws {
        let (bench, object, _) = try bench(options, scattered)
        let copy = try bench.task.map(size: 200 * page, object: object, offset: 60 * page, copy: true)
        let wanted = Array(wanted(scattered)[60..<260])
        try bench.store.commit()
        #expect(bench.words(copy, 200) == wanted)
        try bench.store.close()
        #expect(bench.words(copy, 200, of: try bench.reopened(options).task(named: "main")) == wanted)
    }

    @Test(arguments: everyMode)
    func copiesOfUntouchedCopiesKeepTheBytes(_ options: Store.OpenOptions) throws {
        let (bench, object, source) = try bench(options, scattered)
        var wanted = wanted(scattered)
        var copy = try bench.task.map(size: UInt64(pages) * page, object: object, copy: true)
        bench.fill(source, Array(repeating: -1, count: pages))
        for round in 0..<5 {
            let index = [3, 100, 255, 256, 400][round]
            bench.set(copy + UInt64(index) * page, -100 - round)
            wanted[index] = -100 - round
            let next = try bench.task.remap(
                size: UInt64(pages) * page, source: bench.task, sourceAddress: copy, copy: true
            ).address
            bench.set(copy, -1)
            try bench.task.deallocate(address: copy, size: UInt64(pages) * page)
            copy = next
        }
        try bench.store.commit()
        #expect(bench.words(copy, pages) == wanted)
        try bench.store.close()
        #expect(bench.words(copy, pages, of: try bench.reopened(options).task(named: "main")) == wanted)
    }

    @Test(arguments: everyMode)
    func anInvalidatedCopyShowsWhatIsCommitted(_ options: Store.OpenOptions) throws {
        let (bench, object, _) = try bench(options, scattered)
        let copy = try bench.task.map(size: UInt64(pages) * page, object: object, copy: true)
        try bench.task.sync(address: copy + 3 * page, size: 60 * page, .killPages)
        var wanted = wanted(scattered)
        for index in 3..<63 { wanted[index] = index + 1 }
        #expect(bench.words(copy, pages) == wanted)
        try bench.store.commit()
        #expect(bench.words(copy, pages) == wanted)
        try bench.store.close()
        #expect(bench.words(copy, pages, of: try bench.reopened(options).task(named: "main")) == wanted)
    }

    /// The lineage of a copy at the end of a long chain begins with the chain's first object, which has other bytes.
    @Test(arguments: everyMode)
    func anInvalidatedCopyOfALongChainKeepsWhatItShows(_ options: Store.OpenOptions) throws {
        let (bench, object, _) = try bench(options, [])
        var copy = try bench.task.map(size: UInt64(pages) * page, object: object, copy: true)
        for link in 0..<12 {
            bench.set(copy + UInt64(link) * page, -link - 1)
            try bench.store.commit()
            let next = try bench.task.remap(size: UInt64(pages) * page, source: bench.task, sourceAddress: copy, copy: true).address
            try bench.store.commit()
            try bench.task.deallocate(address: copy, size: UInt64(pages) * page)
            copy = next
        }
        let wanted = (0..<pages).map { $0 < 12 ? -$0 - 1 : $0 + 1 }
        let last = try bench.task.remap(size: UInt64(pages) * page, source: bench.task, sourceAddress: copy, copy: true).address
        try bench.task.sync(address: last, size: UInt64(pages) * page, .killPages)
        #expect(bench.words(last, pages) == wanted)
        let after = try bench.task.remap(size: UInt64(pages) * page, source: bench.task, sourceAddress: last, copy: true).address
        try bench.store.commit()
        for address in [last, after] { #expect(bench.words(address, pages) == wanted) }
        try bench.store.close()
        let task = try bench.reopened(options).task(named: "main")
        for address in [last, after] { #expect(bench.words(address, pages, of: task) == wanted) }
    }

    @Test func manyChangedPagesAreCopiedToo() throws {
        let bench = try Bench()
        let count = 9_000
        let source = try bench.task.allocate(size: UInt64(count) * page)
        bench.fill(source, Array(1...count))
        let copy = try bench.task.remap(size: UInt64(count) * page, source: bench.task, sourceAddress: source, copy: true).address
        bench.fill(source, Array(repeating: -1, count: count))
        #expect(bench.words(copy, count) == Array(1...count))
        // Such a commit would not fit the small ring.
        try bench.store.abandon()
    }

    /// Bytes past the end of a source are no part of a copy, though its last page was stored to there.
    @Test(arguments: everyMode)
    func nothingPastTheSourcesEndIsCopied(_ options: Store.OpenOptions) throws {
        let (bench, object, source) = try bench(options, [])
        let end = UInt64(pages) * page - 1000
        bench.set(source + end - 8, 5)
        bench.set(source + end, 6)
        let copy = try bench.task.map(size: UInt64(pages) * page, object: object, copy: true)
        #expect(bench.word(copy + end - 8) == 5)
        #expect(bench.word(copy + end) == 0)
    }

    @Test func threadsReadACopyWhileACommitTakesIt() throws {
        let (bench, object, source) = try bench(.init(), Array(0..<pages))
        let wanted = wanted(Array(0..<pages)), task = bench.task, pages = pages, page = page
        for _ in 0..<10 {
            let copy = try task.map(size: UInt64(pages) * page, object: object, copy: true)
            let strange = Atomic(0)
            DispatchQueue.concurrentPerform(iterations: 3) { index in
                if index == 0 {
                    do { try bench.store.commit() } catch { strange.add(1, ordering: .relaxed) }
                    return
                }
                for step in 0..<pages {
                    let number = index == 1 ? step : pages - 1 - step
                    let found = task.pointer(copy + UInt64(number) * page).load(as: Int.self)
                    if found != wanted[number] { strange.add(1, ordering: .relaxed) }
                }
            }
            #expect(strange.load(ordering: .relaxed) == 0)
            for index in 0..<pages { bench.set(source + UInt64(index) * page, 10_000 + index) }
        }
    }
}
