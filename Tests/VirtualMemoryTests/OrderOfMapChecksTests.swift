import TestSupport
import Testing
import Varve

/// A vm_map with every combination of faults, one at most for each step: the step that comes first answers.
@Suite struct OrderOfMapChecksTests {
    /// What may be wrong with a call; the cases of each in order of its steps.
    private enum Shape: CaseIterable { case fine, unknownBits, currentBeyondMaximum }
    private enum Size: CaseIterable { case fine, zero, roundsToZero, wraps }
    private enum Offset: CaseIterable { case fine, wraps, unaligned }
    private enum Place: CaseIterable { case fine, masked, outside, taken }

    private struct Faults {
        var isTerminated = false
        var shape = Shape.fine
        var size = Size.fine
        var offset = Offset.fine
        var isDead = false
        var lacksRights = false
        var isBeyondTheEntry = false
        var copyFails = false
        var place = Place.fine

        /// task → cur/max bits → address and size → offset + size → kind of object → rights → range of an entry → copy → placement.
        var answer: KernReturn {
            if isTerminated { return .terminated }
            if shape != .fine || size != .fine || offset != .fine { return .invalidArgument }
            if isDead { return .invalidObject }
            if lacksRights { return .protectionFailure }
            if isBeyondTheEntry { return .invalidArgument }
            if copyFails { return .memoryError }
            switch place {
            case .fine: return .success
            case .masked, .taken: return .noSpace
            case .outside: return .invalidAddress
            }
        }

        static var all: [Faults] {
            let switches = [false, true]
            var all: [Faults] = []
            for number in 0..<32 {
                for shape in Shape.allCases { for size in Size.allCases { for offset in Offset.allCases { for place in Place.allCases {
                    all.append(
                        Faults(
                            isTerminated: switches[number & 1], shape: shape, size: size, offset: offset,
                            isDead: switches[number >> 1 & 1], lacksRights: switches[number >> 2 & 1],
                            isBeyondTheEntry: switches[number >> 3 & 1], copyFails: switches[number >> 4 & 1], place: place))
                } } } }
            }
            return all
        }
    }

    private let bench: Bench
    private let page = Bench.page
    private let terminated: VMTask
    private var base: UInt64 { bench.base }
    /// By whether it is dead, whether its rights are too few, and whether a range of three pages passes it.
    private var ports: [[Bool]: any MemoryPort] = [:]
    private var failing: [[Bool]: any MemoryPort] = [:]
    private let keeper: ManagedObject

    init() throws {
        bench = try Bench()
        let store = bench.store, task = bench.task
        terminated = try store.task(named: "gone")
        try terminated.terminate()
        let live = try bench.object("live"), dead = try bench.object("dead")
        keeper = try store.makeObject(size: 4 * page, manager: TestManager { _ in throw Complaint("never") })
        let ended = try store.makeObject(size: 4 * page, manager: TestManager())
        let liveAt = try task.map(size: 4 * page, object: live)
        let endedAt = try task.map(size: 4 * page, object: ended)
        for lacks in [false, true] {
            let rights: Protection = lacks ? .none : .all
            ports[[false, lacks, false]] = store.port(to: live, rights: rights)
            ports[[true, lacks, false]] = store.port(to: dead, rights: rights)
            ports[[false, lacks, true]] = try task.makeMemoryEntry(address: liveAt, size: 2 * page, permission: rights)
            ports[[true, lacks, true]] = try task.makeMemoryEntry(address: endedAt, size: 2 * page, permission: rights)
            failing[[lacks, false]] = keeper.port(rights: rights)
        }
        if HostCapabilities.current.demandFaults {
            let at = try task.map(size: 4 * page, object: keeper)
            for lacks in [false, true] {
                failing[[lacks, true]] = try task.makeMemoryEntry(address: at, size: 2 * page, permission: lacks ? .none : .all)
            }
        }
        ended.terminate()
        try store.deleteObject("dead")
        try task.map(address: base + 1000 * page, size: 4 * page, anywhere: false)
        try store.commit()
    }

    private func call(_ faults: Faults) throws {
        var address = base + 2000 * page, size = 3 * page, mask: UInt64 = 0, offset: UInt64 = 0
        switch faults.place {
        case .fine: break
        // Taken and outside as well: the mask is looked at first.
        case .masked: (address, mask) = (0x1000, 0x1000)
        case .outside: address = bench.base + bench.task.windowSize - page
        case .taken: address = base + 999 * page
        }
        switch faults.size {
        case .fine: break
        case .zero: size = 0
        case .roundsToZero: size = .max - 4094
        case .wraps: address = .max - 4095
        }
        switch faults.offset {
        case .fine: break
        case .wraps: offset = .max - 4095
        case .unaligned: offset = 1
        }
        let object =
            faults.copyFails && !faults.isDead
            ? failing[[faults.lacksRights, faults.isBeyondTheEntry]]
            : ports[[faults.isDead, faults.lacksRights, faults.isBeyondTheEntry]]
        guard let object else { throw VMError(faults.answer, "this host does not fill on demand") }
        try (faults.isTerminated ? terminated : bench.task).map(
            address: address, size: size, mask: mask, anywhere: false, object: object, offset: offset, copy: faults.copyFails,
            current: [.default, Protection(rawValue: 9), .all][Shape.allCases.firstIndex(of: faults.shape)!],
            maximum: faults.shape == .fine ? .default : .read)
    }

    @Test func ofAllFaultsTheEarliestAnswers() throws {
        let before = bench.task.entries
        var calls = 0
        for faults in Faults.all where faults.answer != .success {
            let code = bench.code { try call(faults) }
            #expect(code == faults.answer, "\(faults)")
            calls += 1
            guard code != faults.answer || bench.task.entries != before else { continue }
            Issue.record("a call changed the map, or answered wrongly: \(faults)")
            return
        }
        #expect(calls > 4000 && bench.task.entries == before)
        #expect(try !bench.store.hasUncommittedChanges())
        // Without a fault it maps.
        #expect(bench.code { try call(Faults()) } == .success)
        try bench.store.close()
    }

    /// The null object has no kind, rights nor range; its offset is not looked at but for wrapping.
    @Test func theNullObjectsChecksAreOfAddressSizeAndPlace() throws {
        let task = bench.task
        let taken = base + 1000 * page
        #expect(try bench.refused { try task.map(address: taken, size: 0, anywhere: false, offset: 5) } == .invalidArgument)
        #expect(try bench.refused { try task.map(address: taken, size: page, anywhere: false, offset: .max) } == .invalidArgument)
        #expect(try bench.refused { try task.map(address: taken, size: page, anywhere: false, offset: 5, copy: true) } == .noSpace)
        #expect(try bench.refused { try task.map(address: 0x1000, size: page, mask: 0x1000, anywhere: false) } == .noSpace)
        #expect(try bench.refused { try task.map(address: 0x1000, size: page, anywhere: false) } == .invalidAddress)
        try bench.store.close()
    }
}
