import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// vm_copy of whole pages, where they are copied when they are touched and where they can't be.
@Suite struct SemanticsLazyCopyTests {
    let page: UInt64 = 4096
    let pages: UInt64 = 400

    /// A bench with a source of committed words 1… and a destination of zeros.
    private func bench(_ options: Store.OpenOptions) throws -> (Bench, source: UInt64, destination: UInt64) {
        let bench = try Bench(options)
        let object = try bench.store.createObject(named: "source", size: pages * page)
        let source = try bench.task.map(size: pages * page, object: object)
        let destination = try bench.task.allocate(size: pages * page)
        bench.fill(source, Array(1...Int(pages)))
        try bench.store.commit()
        return (bench, source, destination)
    }

    @Test(arguments: everyMode)
    func aCopyHasUncommittedBytesAndNeitherSideSeesTheOthersLaterWrites(_ options: Store.OpenOptions) throws {
        let (bench, source, destination) = try bench(options)
        bench.fill(source, [7001, 7002])
        try bench.task.copy(source: source, size: pages * page, destination: destination)
        let wanted = [7001, 7002] + Array(3...Int(pages))
        bench.set(source + 9 * page, -1)
        bench.set(destination + 20 * page, 20_000)
        #expect(bench.word(source + 20 * page) == 21)
        bench.set(destination + 20 * page, 21)
        #expect(bench.words(destination, Int(pages)) == wanted)
        try bench.store.commit()
        try bench.task.deallocate(address: source, size: pages * page)
        try bench.store.commit()
        try bench.store.deleteObject("source")
        try bench.store.close()
        let again = try bench.reopened(options).task(named: "main")
        #expect(bench.words(destination, Int(pages), of: again) == wanted)
    }

    /// What a copy takes up of the addresses for memory without a name depends on what is copied, not on where it lay.
    @Test func copiesFromTheEndOfALargeObjectLeaveRoomForOthers() throws {
        let bench = try Bench(.init())
        let size: UInt64 = 8 << 30, part: UInt64 = 1 << 20
        let source = try bench.task.map(size: size, object: try bench.store.createObject(named: "large", size: size))
        bench.set(source + size - part, 42)
        for _ in 0..<12 {
            let destination = try bench.task.allocate(size: part)
            try bench.task.copy(source: source + size - part, size: part, destination: destination)
            #expect(bench.word(destination) == 42)
        }
        try bench.store.close()
    }

    @Test(arguments: fillingModes)
    func committedPagesAreCopiedWhenTheyAreTouched(_ options: Store.OpenOptions) throws {
        let (bench, source, destination) = try bench(options)
        try bench.task.copy(source: source, size: pages * page, destination: destination)
        #expect(try bench.task.region(destination).residentPages < Int(pages) / 2)
        #expect(bench.word(destination + 100 * page) == 101)
        #expect(try bench.task.region(destination).residentPages < Int(pages) / 2)
    }

    @Test(arguments: everyMode)
    func theDestinationsRegionsKeepTheirAttributes(_ options: Store.OpenOptions) throws {
        let (bench, source, destination) = try bench(options)
        let task = bench.task
        try task.inherit(address: destination + 10 * page, size: 20 * page, .share)
        try task.protect(address: destination + 50 * page, size: 5 * page, setMaximum: true, .default)
        try task.protect(address: source, size: pages * page, .read)
        func attributes() -> [[Int]] {
            task.entries.filter { $0.start >= destination && $0.start < destination + pages * page }.map {
                [Int($0.start), Int($0.end), Int($0.current.rawValue), Int($0.maximum.rawValue), Int($0.inheritance.rawValue), $0.copied ? 1 : 0]
            }
        }
        let before = attributes()
        try task.copy(source: source, size: pages * page, destination: destination)
        #expect(attributes() == before)
        #expect(bench.words(destination, Int(pages)) == Array(1...Int(pages)))
        // A store finds its way to the object that is shown now.
        bench.set(destination + 51 * page, -51)
        try bench.store.commit()
        try bench.store.abandon()
        #expect(bench.word(destination + 51 * page) == -51)
    }

    @Test(arguments: everyMode)
    func whoeverSharesTheDestinationSeesTheBytes(_ options: Store.OpenOptions) throws {
        let (bench, source, destination) = try bench(options)
        let shared = try bench.task.remap(size: pages * page, source: bench.task, sourceAddress: destination).address
        let object = try bench.store.createObject(named: "target", size: pages * page)
        let named = try bench.task.map(size: pages * page, object: object)
        let entry = try bench.task.makeMemoryEntry(address: destination, size: pages * page, permission: .default)
        for target in [destination, named] { try bench.task.copy(source: source, size: pages * page, destination: target) }
        #expect(bench.words(shared, Int(pages)) == Array(1...Int(pages)))
        let mapped = try bench.task.map(size: pages * page, object: entry, maximum: .default)
        #expect(bench.words(mapped, Int(pages)) == Array(1...Int(pages)))
        try bench.store.commit()
        try bench.task.deallocate(address: named, size: pages * page)
        #expect(bench.words(try bench.task.map(size: pages * page, object: object), Int(pages)) == Array(1...Int(pages)))
    }

    @Test(arguments: everyMode)
    func rangesThatOverlapAreReadFirst(_ options: Store.OpenOptions) throws {
        let (bench, source, destination) = try bench(options)
        try bench.task.copy(source: source, size: pages * page, destination: destination)
        try bench.task.copy(source: destination, size: 300 * page, destination: destination + 100 * page)
        #expect(bench.words(destination, Int(pages)) == Array(1...100) + Array(1...300))
        try bench.task.copy(source: destination + 50 * page, size: 350 * page, destination: destination)
        #expect(bench.words(destination, Int(pages)) == Array(51...100) + Array(1...300) + Array(251...300))
        try bench.store.commit()
        #expect(bench.words(destination, Int(pages)) == Array(51...100) + Array(1...300) + Array(251...300))
    }

    @Test(arguments: everyMode)
    func aRefusedCopyChangesNothing(_ options: Store.OpenOptions) throws {
        let (bench, source, destination) = try bench(options)
        let task = bench.task
        try task.protect(address: destination + 300 * page, size: page, .read)
        #expect(try bench.refused { try task.copy(source: source, size: pages * page, destination: destination) } == .protectionFailure)
        #expect(try bench.refused { try task.copy(source: destination, size: (pages + 1) * page, destination: source) } == .invalidAddress)
        #expect(bench.words(destination, Int(pages)) == Array(repeating: 0, count: Int(pages)))
    }

    @Test(arguments: everyMode)
    func abandoningAndInvalidatingBringTheDestinationsCommittedBytesBack(_ options: Store.OpenOptions) throws {
        let (bench, source, destination) = try bench(options)
        let old = Array(5001...5000 + Int(pages))
        bench.fill(destination, old)
        try bench.store.commit()
        for flags in [SyncFlags.killPages, nil] {
            try bench.task.copy(source: source, size: pages * page, destination: destination)
            // Once more: what is replaced is itself such a copy.
            try bench.task.copy(source: source + page, size: (pages - 1) * page, destination: destination)
            #expect(bench.word(destination) == 2)
            if let flags {
                try bench.task.sync(address: destination, size: pages * page, flags)
            } else {
                try bench.store.abandon()
            }
            #expect(bench.words(destination, Int(pages)) == old)
            try bench.store.commit()
        }
        try bench.store.close()
        #expect(bench.words(destination, Int(pages), of: try bench.reopened(options).task(named: "main")) == old)
    }

    @Test(arguments: everyMode)
    func wiredAndPartlyUnwrittenEndsAreCopiedAtOnce(_ options: Store.OpenOptions) throws {
        let (bench, source, destination) = try bench(options)
        try bench.task.wire(address: destination, size: page, access: .read)
        try bench.task.copy(source: source, size: pages * page, destination: destination)
        #expect(try bench.task.region(destination).wiredCount == 1)
        #expect(bench.words(destination, Int(pages)) == Array(1...Int(pages)))
        // The last page of the source has an end; the destination's has none.
        let object = try bench.store.createObject(named: "ends", size: 299 * page + 10)
        let other = try bench.task.map(size: 300 * page, object: object)
        let second = try bench.task.allocate(size: 300 * page)
        try bench.task.copy(source: other, size: 300 * page, destination: second)
        bench.set(second + 299 * page + 4000, 17)
        try bench.store.commit()
        try bench.store.close()
        #expect(bench.word(second + 299 * page + 4000, of: try bench.reopened(options).task(named: "main")) == 17)
    }

    @Test(arguments: everyMode)
    func threadsThatAccessTheDestinationMeanwhileSeeOneSideOrTheOther(_ options: Store.OpenOptions) throws {
        let (bench, source, destination) = try bench(options)
        let task = bench.task, pages = pages, page = page
        let isOver = Atomic(false)
        let strange = Atomic(0)
        DispatchQueue.concurrentPerform(iterations: 3) { index in
            if index == 0 {
                for round in 0..<60 {
                    do {
                        if round % 7 == 3 { try bench.store.commit() }
                        try task.copy(source: source, size: pages * page, destination: destination)
                    } catch { strange.add(1, ordering: .relaxed) }
                }
                isOver.store(true, ordering: .relaxed)
                return
            }
            var number: UInt64 = UInt64(index)
            while !isOver.load(ordering: .relaxed) {
                number = (number &* 31 + 7) % pages
                let found = task.pointer(destination + number * page).load(as: Int.self)
                if found != 0, found != Int(number) + 1 { strange.add(1, ordering: .relaxed) }
            }
        }
        #expect(strange.load(ordering: .relaxed) == 0)
    }
}
