import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// Private memory that is given back: by `trim`, by a limit, and where it is cold.
@Suite struct TrimTests {
    static let modes = Array(everyMode.indices)
    private static let table = UInt64(512 * 4096)

    /// A store with a mapped exclusive object of `tables` times 2 MiB.
    private func store(_ mode: Int, tables: UInt64, _ residency: ResidencyPolicy = .keepsAll) throws
        -> (StoreFixture, Store, VMTask, UInt64)
    {
        let fixture = StoreFixture()
        try fixture.create()
        var options = everyMode[mode]
        options.residency = residency
        let store = try fixture.open(options)
        let task = try store.task(named: "main")
        let object = try store.createObject(named: "a", size: tables * Self.table, residency: .exclusive)
        return (fixture, store, task, try task.map(size: tables * Self.table, object: object))
    }

    private static func word(_ task: VMTask, _ address: UInt64, _ page: UInt64) -> UInt64 {
        task.pointer(address + page * 4096).load(as: UInt64.self)
    }

    private static func set(_ task: VMTask, _ address: UInt64, _ page: UInt64, _ value: UInt64) {
        task.pointer(address + page * 4096).storeBytes(of: value, as: UInt64.self)
    }

    @Test(arguments: modes)
    func trimGivesBackWhatIsCommittedAndKeepsWhatIsNot(_ mode: Int) throws {
        let (fixture, store, task, address) = try store(mode, tables: 4)
        defer { withExtendedLifetime(fixture) {} }
        for page in 0..<2048 as Range<UInt64> { Self.set(task, address, page, page + 1) }
        try store.commit()
        for page in 100..<110 as Range<UInt64> { Self.set(task, address, page, 7) }
        #expect(store.privateMemory.bytes >= 4 * Self.table)
        #expect(try store.trim() == Self.table)
        #expect(store.privateMemory.bytes == Self.table)
        #expect(try store.hasUncommittedChanges())
        for page in 0..<2048 as Range<UInt64> {
            #expect(Self.word(task, address, page) == (100..<110 ~= page ? 7 : page + 1), "page \(page)")
        }
        try store.abandon()
        #expect(try !store.hasUncommittedChanges())
        for page in 0..<2048 as Range<UInt64> { #expect(Self.word(task, address, page) == page + 1, "page \(page)") }
        Self.set(task, address, 2000, 9)
        try store.trim()
        let version = try store.commit()
        #expect(try store.commit() == version)
        #expect(Self.word(task, address, 2000) == 9)
    }

    @Test(arguments: modes)
    func nothingIsUncommittedAfterATrim(_ mode: Int) throws {
        let (fixture, store, task, address) = try store(mode, tables: 2)
        defer { withExtendedLifetime(fixture) {} }
        for page in 0..<1024 as Range<UInt64> { Self.set(task, address, page, page) }
        try store.commit()
        try store.trim()
        #expect(try !store.hasUncommittedChanges())
        let version = try store.commit()
        #expect(try store.commit() == version)
    }

    @Test(arguments: modes, [false, true])
    func commitsKeepTheLimit(_ mode: Int, _ isDeclared: Bool) throws {
        let limit = 2 * Self.table
        let (fixture, first, task, address) = try store(mode, tables: 8, ResidencyPolicy(limit: limit))
        defer { withExtendedLifetime(fixture) {} }
        var store = first
        var random = SeededGenerator(seed: UInt64(mode))
        var model = [UInt64](repeating: 0, count: 4096)
        for round in 1...60 as ClosedRange<UInt64> {
            for _ in 0..<100 {
                let page = UInt64.random(in: 0..<4096, using: &random)
                task.touch(address: address + page * 4096, size: 8)
                Self.set(task, address, page, round)
                model[Int(page)] = round
            }
            try store.commit(declaredOnly: isDeclared)
            #expect(store.privateMemory.bytes <= limit, "round \(round)")
            #expect(store.privateMemory.failure == nil)
        }
        for page in 0..<4096 { #expect(Self.word(task, address, UInt64(page)) == model[page], "page \(page)") }
        #expect(try !store.hasUncommittedChanges())
        try store.close()
        var options = everyMode[mode]
        options.residency = ResidencyPolicy(limit: limit)
        store = try fixture.open(options)
        let again = try store.task(named: "main")
        #expect(store.privateMemory.bytes <= limit)
        for page in 0..<4096 { #expect(Self.word(again, address, UInt64(page)) == model[page], "page \(page)") }
        Self.set(again, address, 5, 1_000)
        try store.commit()
        #expect(store.privateMemory.bytes <= limit)
        try store.close()
    }

    /// Whoever stores meanwhile has not asked for such a commit, and is not quiet.
    @Test(arguments: modes)
    func commitsThatTheProgramDoesNotMakeGiveNothingBack(_ mode: Int) throws {
        let (fixture, store, task, address) = try store(
            mode, tables: 2, ResidencyPolicy(limit: Self.table / 2))
        defer { withExtendedLifetime(fixture) {} }
        for page in 0..<1024 as Range<UInt64> { Self.set(task, address, page, page + 1) }
        try task.sync(address: address, size: 4096, .synchronous)
        #expect(try !store.hasUncommittedChanges())
        #expect(store.privateMemory.bytes >= 2 * Self.table)
        Self.set(task, address, 0, 6)
        try store.commit()
        #expect(store.privateMemory.bytes <= Self.table / 2)
    }

    @Test(arguments: modes)
    func aRelativePathStandsForTheFolderThatWasOpened(_ mode: Int) async throws {
        await #expect(processExitsWith: .success) { [mode = mode as Int] in
            quietEnd()
            let folder = TemporaryFolder("relative")
            precondition(chdir(folder.path) == 0)
            try Store.create("store")
            let store = try Store.open("store", options: everyMode[mode])
            let task = try store.task(named: "main")
            let object = try store.createObject(named: "a", size: TrimTests.table, residency: .exclusive)
            let address = try task.map(size: TrimTests.table, object: object)
            for page in 0..<512 as Range<UInt64> { TrimTests.set(task, address, page, page + 1) }
            try store.commit()
            precondition(chdir("/") == 0)
            let left = try store.trim()
            precondition(left == 0)
            for page in 0..<512 as Range<UInt64> { precondition(TrimTests.word(task, address, page) == page + 1) }
            exit(0)
        }
    }

    @Test(arguments: modes)
    func whatIsWiredStaysAndIsTradedOnceItIsNot(_ mode: Int) throws {
        let (fixture, store, task, address) = try store(mode, tables: 2)
        defer { withExtendedLifetime(fixture) {} }
        for page in 0..<1024 as Range<UInt64> { Self.set(task, address, page, page) }
        try store.commit()
        try task.wire(address: address, size: 4096, access: .read)
        #expect(try store.trim() >= 4096)
        try task.wire(address: address, size: 4096, access: .none)
        #expect(try store.trim() == 0)
    }

    @Test(arguments: modes)
    func aForkedChildKeepsTheMemoryOfTheFork(_ mode: Int) async throws {
        await #expect(processExitsWith: .success) { [mode = mode as Int] in
            quietEnd()
            let (fixture, store, task, address) = try TrimTests().store(mode, tables: 2)
            defer { withExtendedLifetime(fixture) {} }
            for page in 0..<1024 as Range<UInt64> { TrimTests.set(task, address, page, page + 1) }
            try store.commit()
            try store.trim()
            var ends: [Int32] = [0, 0]
            pipe(&ends)
            typealias Fork = @convention(c) () -> pid_t
            let child = unsafeBitCast(dlsym(nil, "fork")!, to: Fork.self)()
            if child == 0 {
                var byte: UInt8 = 0
                read(ends[0], &byte, 1)
                for page in 0..<1024 as Range<UInt64> where TrimTests.word(task, address, page) != page + 1 { _exit(1) }
                _exit(0)
            }
            for page in 0..<1024 as Range<UInt64> { TrimTests.set(task, address, page, 1 << 50) }
            try store.commit()
            try store.trim()
            for page in 0..<1024 as Range<UInt64> { precondition(TrimTests.word(task, address, page) == 1 << 50) }
            write(ends[1], "x", 1)
            var status: Int32 = 0
            waitpid(child, &status, 0)
            exit(status == 0 ? 0 : 1)
        }
    }

    /// What other threads store between commits, while cold memory is traded.
    @Test(.timeLimit(.minutes(2)), arguments: modes, [UInt64?.none, 2 << 20])
    func storesOfOtherThreadsBetweenCommitsAreNeverLost(_ mode: Int, _ limit: UInt64?) throws {
        let (fixture, store, task, address) = try store(mode, tables: 6, ResidencyPolicy(limit: limit))
        defer { withExtendedLifetime(fixture) {} }
        let pages: UInt64 = 6 * 512
        for page in 0..<pages { Self.set(task, address, page, 1) }
        try store.commit()
        let gate = Mutex<[UInt64]>([UInt64](repeating: 1, count: Int(pages)))
        let rounds = Budget.of(quick: 60, default: 300, full: 1_500)
        let running = Atomic<Int>(2)
        DispatchQueue.concurrentPerform(iterations: 3) { thread in
            var random = SeededGenerator(seed: UInt64(thread))
            if thread < 2 {
                for round in 0..<rounds * 4 {
                    gate.withLock { model in
                        // Mostly the first table: the others become cold, and are stored to now and then.
                        for _ in 0..<10 {
                            let page = Int.random(in: 0..<8, using: &random) > 0
                                ? UInt64.random(in: 0..<512, using: &random) : UInt64.random(in: 0..<pages, using: &random)
                            model[Int(page)] += UInt64(round)
                            Self.set(task, address, page, model[Int(page)])
                        }
                    }
                }
                running.wrappingSubtract(1, ordering: .sequentiallyConsistent)
            } else {
                while running.load(ordering: .sequentiallyConsistent) > 0 {
                    gate.withLock { model in
                        for _ in 0..<3 { _ = try? store.commit() }
                        for _ in 0..<20 {
                            let page = UInt64.random(in: 0..<pages, using: &random)
                            #expect(Self.word(task, address, page) == model[Int(page)], "page \(page)")
                        }
                    }
                }
            }
        }
        let model = gate.withLock { $0 }
        for page in 0..<pages { #expect(Self.word(task, address, page) == model[Int(page)], "page \(page)") }
        try store.commit()
        try store.readAll("a") { bytes in
            for page in 0..<Int(pages) {
                #expect(bytes.loadUnaligned(fromByteOffset: page * 4096, as: UInt64.self) == model[page], "committed page \(page)")
            }
        }
        try store.close()
    }

    /// Stores, commits, trims, aborts, rollbacks, protections and snapshots beside, compared with a model.
    @Test(.timeLimit(.minutes(5)), arguments: modes, [1, 2] as [UInt64])
    func aRandomHistoryAgreesWithAModel(_ mode: Int, _ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let tables: UInt64 = 5, pages = Int(tables) * 512
        let (fixture, first, firstTask, address) = try store(mode, tables: tables)
        defer { withExtendedLifetime(fixture) {} }
        var store = first, task = firstTask
        var memory = [UInt64](repeating: 0, count: pages), committed = memory
        var snapshots: [(name: String, words: [UInt64])] = []
        func check(_ note: String) {
            for page in 0..<pages where Self.word(task, address, UInt64(page)) != memory[page] {
                Issue.record("seed \(seed), \(note): page \(page) is \(Self.word(task, address, UInt64(page))), not \(memory[page])")
                return
            }
        }
        for step in 0..<Budget.of(quick: 60, default: 200, full: 1_000) {
            switch Int.random(in: 0..<16, using: &random) {
            case 0..<5:
                let base = Int.random(in: 0..<pages, using: &random), count = Int.random(in: 1...300, using: &random)
                for index in 0..<count {
                    let page = Bool.random(using: &random) ? (base + index) % pages : Int.random(in: 0..<pages, using: &random)
                    memory[page] = UInt64.random(in: 0..<4, using: &random) == 0 ? 0 : UInt64(step + 1) << 32 | UInt64(page)
                    Self.set(task, address, UInt64(page), memory[page])
                }
            case 5..<8:
                try store.commit()
                committed = memory
            case 8, 9:
                try store.trim(to: UInt64.random(in: 0...4, using: &random) * Self.table / 2)
            case 10:
                try store.abandon()
                memory = committed
            case 11:
                store.residency = [
                    ResidencyPolicy.keepsAll, ResidencyPolicy(limit: 1 << 20), ResidencyPolicy(limit: 4 << 20),
                ].randomElement(using: &random)!
            case 12:
                let name = "s\(step)"
                try store.commit(snapshot: name)
                committed = memory
                snapshots.append((name, memory))
            case 13:
                guard let snapshot = snapshots.randomElement(using: &random) else { continue }
                try store.commit()
                try store.rollback(to: .snapshot(snapshot.name), object: "a")
                memory = snapshot.words
                committed = memory
            case 14:
                let start = UInt64.random(in: 0..<tables * 512, using: &random)
                let count = UInt64.random(in: 1...min(600, tables * 512 - start), using: &random)
                try task.protect(address: address + start * 4096, size: count * 4096, .read)
                try store.trim()
                check("step \(step), protected")
                try task.protect(address: address + start * 4096, size: count * 4096, .default)
            default:
                if Int.random(in: 0..<4, using: &random) == 0 {
                    let policy = store.residency
                    try store.close()
                    memory = committed
                    var options = everyMode[mode]
                    options.residency = policy
                    store = try fixture.open(options)
                    task = try store.task(named: "main")
                }
            }
            if step % 8 == 0 { check("step \(step)") }
        }
        check("the end")
        #expect(try store.hasUncommittedChanges() == (memory != committed))
        for snapshot in snapshots {
            try store.readAll("a", .snapshot(snapshot.name)) { bytes in
                for page in 0..<pages where bytes.loadUnaligned(fromByteOffset: page * 4096, as: UInt64.self) != snapshot.words[page] {
                    Issue.record("seed \(seed): page \(page) of \(snapshot.name)")
                    return
                }
            }
        }
        try store.close()
    }
}

extension Store {
    /// Gives an object's bytes as a state has them.
    fileprivate func readAll(_ name: String, _ state: State = .head, _ body: (UnsafeRawBufferPointer) -> Void) throws {
        let reference = ObjectReference(name: name, state: state)
        let bytes = try [UInt8](unsafeUninitializedCapacity: Int(try object(named: name).size)) { buffer, count in
            count = try read(reference, offset: 0, into: UnsafeMutableRawBufferPointer(buffer))
        }
        bytes.withUnsafeBytes { body($0) }
    }
}
