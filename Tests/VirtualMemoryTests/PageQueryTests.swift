import Foundation
import TestSupport
import Testing
import Varve

/// vm_map_page_query, page by page, where pages come when they are touched.
@Suite struct PageQueryTests {
    private let page = Bench.page

    @Test(arguments: fillingModes)
    func aPageIsPagedOutUntilItIsTouched(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let object = try bench.object("a", pages: 1000)
        let first = try bench.task.map(size: 1000 * page, object: object)
        bench.fill(first, Array(1...900))
        try bench.store.commit()
        try bench.task.deallocate(address: first, size: 1000 * page)
        try bench.store.commit()
        try bench.store.close()

        let store = try bench.reopened(options)
        let task = try store.task(named: "main")
        let address = try task.map(size: 1000 * page, object: try store.object(named: "a"))
        let copy = try task.map(size: 1000 * page, object: try store.object(named: "a"), copy: true)
        // Far from what is touched; and what was never written is nowhere.
        func query(_ start: UInt64, _ number: UInt64) throws -> PageDisposition { try task.queryPage(start + number * page + 77) }
        #expect(try query(address, 500) == .pagedOut && query(copy, 500) == [.copied, .pagedOut])
        #expect(try query(address, 990) == [] && query(copy, 990) == .copied)
        let counts = try task.region(address)
        #expect(counts.dirtyPages == 0 && counts.swappedPages == 0)
        #expect(bench.word(address + 500 * page, of: task) == 501 && bench.word(copy + 500 * page, of: task) == 501)
        #expect(try query(address, 500) == .present && query(copy, 500) == [.copied, .present])
        #expect(try query(address, 100) == .pagedOut && query(copy, 100) == [.copied, .pagedOut])
        bench.set(address + 500 * page, -1, of: task)
        bench.set(copy + 500 * page, -2, of: task)
        #expect(try query(address, 500) == [.present, .dirty] && query(copy, 500) == [.copied, .present, .dirty])
        try store.commit()
        #expect(try query(address, 500) == .present && query(copy, 500) == [.copied, .present])
        try store.close()
    }

    /// What looks for stores is told apart from what the host has swapped out: here it has nothing.
    @Test(.enabled(if: !hostSwaps, "the host may have swapped pages out"), arguments: everyMode)
    func exclusivePagesThatWereNeverWrittenAreNowhere(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let object = try bench.store.createObject(named: "heap", size: 1000 * page, residency: .exclusive)
        let address = try bench.task.map(size: 1000 * page, object: object)
        bench.fill(address, [1, 2, 3])
        try bench.store.commit()
        bench.set(address + page, 20)
        try bench.store.commit()
        func query(_ number: UInt64) throws -> PageDisposition { try bench.task.queryPage(address + number * page + 5) }
        #expect(try query(1) == .present && query(3) == [] && query(100) == [] && query(999) == [])
        let counts = try bench.task.region(address)
        #expect(counts.residentPages == 3 && counts.swappedPages == 0 && counts.dirtyPages == 0)
        // Pages that hold committed bytes and are not in memory are on the disk, armed or not.
        try bench.store.commit()
        try bench.store.close()
        let task = try bench.reopened(options).task(named: "main")
        bench.set(address + 500 * page, 7, of: task)
        #expect(try task.queryPage(address + 600 * page) == [] && task.region(address).swappedPages == 0)
        #expect(bench.words(address, 3, of: task) == [1, 20, 3])
        #expect(try task.queryPage(address + 2 * page) == .present)
    }
}

private let hostSwaps = (try? String(contentsOfFile: "/proc/swaps", encoding: .utf8))?.split(separator: "\n").count ?? 0 > 1
