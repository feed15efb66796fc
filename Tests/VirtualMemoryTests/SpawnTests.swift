import Foundation
import TestSupport
import Testing
import Varve

/// Programs that a task starts, with what its regions hand on.
@Suite struct SpawnTests {
    let page: UInt64 = 4096

    private static let program: String = {
        let folder = (CommandLine.arguments[0] as NSString).deletingLastPathComponent
        let beside = folder + "/varve-spawn-child"
        return access(beside, X_OK) == 0 ? beside : FileManager.default.currentDirectoryPath + "/.build/debug/varve-spawn-child"
    }()

    /// Starts the program; what it is to do is said in order.
    private func start(_ bench: Bench, _ commands: [String], _ descriptors: [Int32: Int32] = [:]) throws -> SpawnedProgram {
        try bench.task.spawn(Self.program, arguments: commands, descriptors: descriptors)
    }

    private func run(_ bench: Bench, _ commands: [String], sourceLocation: SourceLocation = #_sourceLocation) throws {
        let ending = try start(bench, commands).wait()
        var what = ""
        if case .exited(let code) = ending, code > 0, code <= commands.count { what = commands[Int(code) - 1] }
        #expect(ending == .exited(0), "\(what)", sourceLocation: sourceLocation)
    }

    private func isWithin(_ seconds: Int, _ condition: () throws -> Bool) rethrows -> Bool {
        for _ in 0..<seconds * 200 {
            if try condition() { return true }
            usleep(5000)
        }
        return false
    }

    @Test(arguments: everyMode)
    func regionsAreSharedCopiedOrAbsentAtTheSameAddresses(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let task = bench.task
        let object = try bench.store.createObject(named: "a", size: 100 * page)
        let exclusive = try bench.store.createObject(named: "heap", size: 100 * page, residency: .exclusive)
        let named = try task.map(size: 100 * page, object: object, inheritance: .share)
        let copied = try task.map(size: 100 * page, object: object, inheritance: .copy)
        let heap = try task.map(size: 100 * page, object: exclusive, inheritance: .copy)
        let nameless = try task.allocate(size: 50 * page)
        try task.inherit(address: nameless, size: 50 * page, .share)
        let own = try task.allocate(size: 50 * page)
        let absent = try task.allocate(size: page)
        try task.inherit(address: absent, size: page, .none)
        for address in [named, heap, nameless, own] { bench.fill(address, Array(1...50)) }
        try bench.store.commit()
        try bench.store.close()
        // What is committed comes to the program too, and what is not.
        let store = try bench.reopened(options)
        let again = try store.task(named: "main")
        for (address, value) in [(named, 70), (heap, 71), (nameless, 72), (own, 73)] { bench.set(address, value, of: again) }
        let commands = [
            "inherit", "count:5", "hole:\(absent)", "expect:\(named):70", "expect:\(copied):70", "expect:\(heap):71", "expect:\(nameless):72",
            "expect:\(own):73", "expect:\(named + 49 * page):50", "expect:\(copied + 30 * page):31", "expect:\(heap + 30 * page):31",
            "expect:\(nameless + 30 * page):31", "expect:\(own + 30 * page):31", "expect:\(own + 49 * page):50",
            "set:\(named + page):81", "set:\(copied + page):82", "set:\(heap + page):83", "set:\(nameless + page):84", "set:\(own + page):85",
            "region:\(named):3:7:0", "region:\(own):3:7:1",
        ]
        let ending = try again.spawn(Self.program, arguments: commands).wait()
        #expect(ending == .exited(0))
        #expect([named, copied, heap, nameless, own].map { bench.word($0 + page, of: again) } == [81, 81, 2, 84, 2])
        // What the program stored is part of the next commit, though it has ended.
        try store.commit()
        try store.close()
        let last = try bench.reopened(options).task(named: "main")
        #expect([named, nameless, own].map { bench.word($0 + page, of: last) } == [81, 84, 2])
    }

    @Test(arguments: everyMode)
    func bothSidesSeeEachOthersWritesAndTheProgramCommits(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let address = try bench.task.allocate(size: 4 * page)
        try bench.task.inherit(address: address, size: 4 * page, .share)
        var there: [Int32] = [0, 0], back: [Int32] = [0, 0]
        #expect(pipe(&there) == 0 && pipe(&back) == 0)
        defer { for end in there + back { close(end) } }
        let program = try start(
            bench, ["inherit", "set:\(address):5", "commit", "say:9", "hear:8", "expect:\(address + page):6"], [9: back[1], 8: there[0]])
        var byte: UInt8 = 0
        #expect(read(back[0], &byte, 1) == 1)
        #expect(bench.word(address) == 5)
        #expect(try !bench.store.hasUncommittedChanges())
        bench.set(address + page, 6)
        #expect(write(there[1], &byte, 1) == 1)
        #expect(try program.wait() == .exited(0))
        #expect(try bench.store.log().first?.message == "by the program")
    }

    @Test(arguments: everyMode)
    func memoryThatAProgramHasIsNobodyElsesBeforeItLetsGo(_ options: Store.OpenOptions) throws {
        let bench = try Bench(options)
        let address = try bench.task.allocate(size: 4 * page)
        try bench.task.inherit(address: address, size: 4 * page, .share)
        var there: [Int32] = [0, 0], back: [Int32] = [0, 0]
        #expect(pipe(&there) == 0 && pipe(&back) == 0)
        defer { for end in there + back { close(end) } }
        let program = try start(
            bench, ["inherit", "say:9", "hear:8", "set:\(address):99", "say:9", "hear:8", "expect:\(address):99"], [9: back[1], 8: there[0]])
        var byte: UInt8 = 0
        #expect(read(back[0], &byte, 1) == 1)
        // Abandoned before a commit made it, and let go of.
        try bench.store.abandon()
        try bench.store.commit()
        let others = try (0..<20).map { _ in try bench.task.allocate(size: 4 * page) }
        #expect(write(there[1], &byte, 1) == 1)
        #expect(read(back[0], &byte, 1) == 1)
        for other in others { #expect(bench.word(other) == 0) }
        for other in others { bench.set(other, 1) }
        #expect(write(there[1], &byte, 1) == 1)
        #expect(try program.wait() == .exited(0))
        #expect(isWithin(20) { bench.store.attachments.processes == 0 })
        try bench.store.commit()
        #expect(try bench.store.verify { Issue.record("\($0)") }.findings == 0)
    }

    @Test func protectionsHoldInTheProgram() throws {
        let bench = try Bench()
        let object = try bench.store.createObject(named: "a", size: page)
        let readable = try bench.task.map(size: page, object: object, current: .read, maximum: .read, inheritance: .share)
        let copied = try bench.task.allocate(size: page)
        try bench.task.protect(address: copied, size: page, .read)
        let closed = try bench.task.allocate(size: page)
        try bench.task.protect(address: closed, size: page, .none)
        for address in [readable, copied] {
            #expect(try start(bench, ["inherit", "expect:\(address):0", "set:\(address):1"]).wait() == .killed(SIGSEGV))
        }
        #expect(try start(bench, ["inherit", "expect:\(closed):0"]).wait() == .killed(SIGSEGV))
        // Beyond an object's end, as here.
        let beyond = try bench.task.map(size: 2 * page, object: object, inheritance: .share)
        #expect(try start(bench, ["inherit", "expect:\(beyond):0", "expect:\(beyond + page):0"]).wait() == .killed(SIGBUS))
        let copy = try bench.task.map(size: 2 * page, object: object, copy: true)
        #expect(try start(bench, ["inherit", "expect:\(copy):0", "expect:\(copy + page):0"]).wait() == .killed(SIGBUS))
    }

    @Test func manyRegionsAreHandedOn() throws {
        let bench = try Bench()
        let addresses = try (0..<450).map { index in
            let address = try bench.task.map(size: page, inheritance: index % 2 == 0 ? .share : .copy)
            bench.set(address, index)
            return address
        }
        try run(bench, ["inherit", "count:450"] + addresses.enumerated().map { "expect:\($1):\($0)" })
    }

    /// What is not closed on exec is the program's, under its number: the connection is another.
    @Test func inheritedDescriptorsStayWhatTheyAre() throws {
        let bench = try Bench()
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        let program = try start(bench, ["inherit", "say:\(ends[1])"])
        var byte: UInt8 = 0
        #expect(try program.wait() == .exited(0))
        #expect(read(ends[0], &byte, 1) == 1)
    }

    @Test func whatCannotBeStartedLeavesNothing() throws {
        let bench = try Bench()
        let address = try bench.task.allocate(size: page)
        try bench.task.inherit(address: address, size: page, .share)
        try bench.store.commit()
        #expect(try bench.refused { _ = try bench.task.spawn("/no/such/program") } == .invalidArgument)
        #expect(try bench.refused { _ = try bench.task.spawn("/dev/null") } == .invalidArgument)
        #expect(try bench.refused { _ = try bench.task.spawn(Self.program, descriptors: [5: 1_000_000]) } == .invalidArgument)
        #expect(try bench.refused { _ = try bench.task.spawn("a\0b") } == .invalidArgument)
        #expect(try bench.refused { _ = try bench.task.spawn(Self.program, descriptors: [.max: 0]) } == .invalidArgument)
        #expect(isWithin(20) { bench.store.attachments == (0, 0) })
        try bench.task.terminate()
        #expect(bench.code { _ = try bench.task.spawn(Self.program) } == .terminated)
    }

    @Test func aProgramWithoutATaskAndASecondCallAreTold() throws {
        let bench = try Bench()
        try run(bench, ["inherit", "refused:wrongState"])
        // The variable alone is nothing.
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.program)
        process.arguments = ["refused:notFound"]
        process.environment = ["VARVE_TASK": "0:1"]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(throws: StoreError.self) { try RemoteTask.inherited() }
    }

    @Test func aServerThatEndsIsAnErrorOfTheProgram() throws {
        let bench = try Bench()
        var there: [Int32] = [0, 0]
        #expect(pipe(&there) == 0)
        defer { for end in there { close(end) } }
        let program = try start(bench, ["hear:8", "refused:io"], [8: there[0]])
        try bench.store.close()
        var byte: UInt8 = 0
        #expect(write(there[1], &byte, 1) == 1)
        #expect(try program.wait() == .exited(0))
    }

    @Test func programsThatAreKilledGiveEverythingBack() throws {
        let bench = try Bench()
        let object = try bench.store.createObject(named: "a", size: page)
        let named = try bench.task.map(size: page, object: object, inheritance: .share)
        let nameless = try bench.task.map(size: page, inheritance: .share)
        for round in 1...5 {
            var there: [Int32] = [0, 0], back: [Int32] = [0, 0]
            #expect(pipe(&there) == 0 && pipe(&back) == 0)
            defer { for end in there + back { close(end) } }
            let program = try start(
                bench, ["inherit", "set:\(named):\(round)", "set:\(nameless):\(round)", "say:9", "hear:8"], [9: back[1], 8: there[0]])
            var byte: UInt8 = 0
            #expect(read(back[0], &byte, 1) == 1)
            kill(program.id, SIGKILL)
            #expect(try program.wait() == .killed(SIGKILL))
            try bench.store.commit()
            _ = try withUnsafeMutableBytes(of: &byte) { try bench.store.read(.init(name: "a"), offset: 0, into: $0) }
            #expect(byte == UInt8(round))
        }
        #expect(isWithin(20) { bench.store.attachments == (0, 0) })
        try bench.task.deallocate(address: named, size: page)
        try bench.store.commit()
        try bench.store.resizeObject("a", to: 2 * page)
    }
}
