import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// Objects of exclusive residency: a second use shares them, and a cut leaves the rest.
@Suite struct SemanticsExclusiveTests {
    let page: UInt64 = 4096
    let pages: UInt64 = 80

    /// A bench with an exclusive object of committed words 1…, of which every third page is changed since: to 1000 + its number.
    private func bench(_ options: Store.OpenOptions) throws -> (Bench, ObjectInfo, address: UInt64, words: [Int]) {
        let bench = try Bench(options)
        let object = try bench.store.createObject(named: "heap", size: pages * page, residency: .exclusive)
        let first = try bench.task.map(size: pages * page, object: object)
        bench.fill(first, Array(1...Int(pages)))
        try bench.store.commit()
        try bench.task.deallocate(address: first, size: pages * page)
        let address = try bench.task.map(size: pages * page, object: object)
        for number in stride(from: 0, to: pages, by: 3) { bench.set(address + number * page, 1001 + Int(number)) }
        return (bench, object, address, (1...Int(pages)).map { ($0 - 1) % 3 == 0 ? 1000 + $0 : $0 })
    }

    @Test(arguments: everyMode, ["map", "remap", "inherit", "entry"])
    func aSecondUseSharesWithAllThatWasStored(_ options: Store.OpenOptions, _ use: String) throws {
        let (bench, object, address, words) = try bench(options)
        var task = bench.task
        let second: UInt64
        switch use {
        case "map": second = try task.map(size: pages * page, object: object)
        case "remap": second = try task.remap(size: pages * page, source: task, sourceAddress: address).address
        case "inherit":
            try task.inherit(address: address, size: pages * page, .share)
            task = try task.createChild(named: "child")
            second = task.entries[0].start
        default:
            let entry = try task.makeMemoryEntry(address: address, size: pages * page, permission: .default)
            second = try task.map(size: pages * page, object: entry, maximum: .default)
        }
        #expect(bench.words(address, Int(pages)) == words && bench.words(second, Int(pages), of: task) == words)
        bench.set(address + page, -1)
        bench.set(second + 2 * page, -2, of: task)
        #expect(bench.word(second + page, of: task) == -1 && bench.word(address + 2 * page) == -2)
        try bench.store.commit()
        #expect(try !bench.store.hasUncommittedChanges())
        try bench.store.close()
        let store = try bench.reopened(options)
        let again = try store.task(named: "main")
        let other = use == "inherit" ? try store.task(named: "child") : again
        #expect(bench.words(address, 3, of: again) == [1001, -1, -2] && bench.words(second, 3, of: other) == [1001, -1, -2])
        bench.set(address + 5 * page, 55, of: again)
        #expect(bench.word(second + 5 * page, of: other) == 55)
    }

    @Test(arguments: everyMode, [0..<10, 70..<80, 30..<40] as [Range<UInt64>])
    func aCutLeavesTheRestWithAllThatWasStored(_ options: Store.OpenOptions, _ part: Range<UInt64>) throws {
        let (bench, object, address, words) = try bench(options)
        try bench.task.deallocate(address: address + part.lowerBound * page, size: UInt64(part.count) * page)
        let rest = (0..<pages).filter { !part.contains($0) }
        for number in rest { #expect(bench.word(address + number * page) == words[Int(number)]) }
        for number in rest { bench.set(address + number * page, -words[Int(number)]) }
        let wanted = (0..<pages).map { part.contains($0) ? words[Int($0)] : -words[Int($0)] }
        // What was stored to the part is part of the next commit all the same.
        try bench.store.commit()
        let whole = try bench.task.map(size: pages * page, object: object)
        #expect(bench.words(whole, Int(pages)) == wanted)
        try bench.store.commit()
        try bench.store.close()
        let task = try bench.reopened(options).task(named: "main")
        #expect(bench.words(whole, Int(pages), of: task) == wanted)
        for number in rest { #expect(bench.word(address + number * page, of: task) == wanted[Int(number)]) }
    }

    @Test(arguments: everyMode)
    func protectionsAndWiringStay(_ options: Store.OpenOptions) throws {
        let (bench, object, address, words) = try bench(options)
        try bench.task.protect(address: address + 3 * page, size: 2 * page, .none)
        try bench.task.protect(address: address + 9 * page, size: page, .read)
        try bench.task.wire(address: address + 20 * page, size: page, access: .read)
        let before = bench.task.entries
        let second = try bench.task.map(size: pages * page, object: object)
        #expect(bench.task.entries.filter { $0.start < second || $0.start >= second + pages * page } == before)
        #expect(bench.words(second, Int(pages)) == words)
        #expect(bench.code { _ = try bench.task.read(address: address + 3 * page, size: 1) } == .protectionFailure)
        try bench.task.wire(address: address + 20 * page, size: page, access: .none)
        try bench.store.commit()
        try bench.task.protect(address: address + 3 * page, size: 2 * page, .default)
        #expect(bench.words(address, Int(pages)) == words)
    }

    @Test(arguments: everyMode)
    func abandoningAfterwardsBringsTheCommittedStateBack(_ options: Store.OpenOptions) throws {
        let (bench, object, address, _) = try bench(options)
        try bench.store.commit()
        let before = bench.task.entries, committed = bench.words(address, Int(pages))
        bench.set(address, -7)
        let second = try bench.task.map(size: pages * page, object: object)
        bench.set(second + page, -8)
        try bench.task.deallocate(address: address + 40 * page, size: 10 * page)
        try bench.store.abandon()
        #expect(bench.task.entries == before)
        #expect(bench.words(address, Int(pages)) == committed)
        #expect(try !bench.store.hasUncommittedChanges())
    }

    @Test(arguments: everyMode)
    func noStoreOfARunningThreadIsLost(_ options: Store.OpenOptions) throws {
        for _ in 0..<Budget.of(quick: 3, default: 8, full: 40) {
            let (bench, object, address, _) = try bench(options)
            let task = bench.task, pages = pages, page = page
            let isOver = Atomic(false), failures = Atomic(0)
            DispatchQueue.concurrentPerform(iterations: 3) { index in
                if index == 0 {
                    usleep(2000)
                    do { try task.map(size: pages * page, object: object) } catch { failures.add(1, ordering: .relaxed) }
                    usleep(1000)
                    isOver.store(true, ordering: .relaxed)
                    return
                }
                var round = 0
                while !isOver.load(ordering: .relaxed) {
                    round += 1
                    for number in stride(from: UInt64(index), to: pages, by: 2) {
                        let place = task.pointer(address + number * page + 8)
                        if round > 1, place.load(as: Int.self) != round - 1 { failures.add(1, ordering: .relaxed) }
                        place.storeBytes(of: round, as: Int.self)
                    }
                }
            }
            #expect(failures.load(ordering: .relaxed) == 0)
            let last = (0..<pages).map { task.pointer(address + $0 * page + 8).load(as: Int.self) }
            try bench.store.commit()
            try bench.store.close()
            let again = try bench.reopened(options).task(named: "main")
            #expect((0..<pages).map { again.pointer(address + $0 * page + 8).load(as: Int.self) } == last)
        }
    }
}
