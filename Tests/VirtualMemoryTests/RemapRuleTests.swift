import TestSupport
import Testing
import Varve

/// vm_remap places like vm_map, and what it makes of regions with different attributes.
@Suite struct RemapRuleTests {
    private let bench: Bench
    private let page = Bench.page
    private var task: VMTask { bench.task }
    private var base: UInt64 { bench.base }

    init() throws { bench = try Bench() }

    @Test(arguments: [false, true])
    func itPlacesAsMapDoes(_ copy: Bool) throws {
        let source = try task.map(address: base + 100 * page, size: 4 * page, anywhere: false)
        bench.fill(source, [1, 2, 3, 4])
        try task.map(address: base, size: page, anywhere: false)
        for mask: UInt64 in [0, 0xfff, 0x3000, 0x5000, 0x9_9000] {
            var wanted = base
            while wanted & mask & ~4095 != 0 || task.entries.contains(where: { $0.start < wanted + 2 * page && $0.end > wanted }) {
                wanted += page
            }
            let made = try task.remap(address: base + 7, size: 2 * page - 5, mask: mask, source: task, sourceAddress: source + page + 9, copy: copy)
            #expect(made.address == wanted && bench.words(wanted, 2) == [2, 3])
            #expect(try task.region(wanted).start <= wanted && task.region(wanted).end >= wanted + 2 * page)
            try task.deallocate(address: wanted, size: 2 * page)
        }
        // Fixed: the page of the address, and no other.
        let fixed = try task.remap(
            address: base + 10 * page + 4095, size: 1, anywhere: false, source: task, sourceAddress: source + 4095, copy: copy)
        #expect(fixed.address == base + 10 * page && bench.word(fixed.address) == 1)
        #expect(try task.region(fixed.address).size == page)
        let masked = { [task, base, page] in
            _ = try task.remap(
                address: base + 20 * page, size: page, mask: base + 20 * page, anywhere: false, source: task, sourceAddress: source, copy: copy)
        }
        #expect(try bench.refused(masked) == .noSpace)
        let end = base + task.windowSize
        #expect(try bench.refused { try task.remap(address: end, size: page, source: task, sourceAddress: source, copy: copy) } == .noSpace)
        #expect(
            try bench.refused { try task.remap(address: end, size: page, anywhere: false, source: task, sourceAddress: source, copy: copy) }
                == .invalidAddress)
        try bench.store.close()
    }

    /// Each region keeps its protections; what comes out is what is allowed to all of them.
    @Test(arguments: [false, true])
    func protectionsOfTheRangeAreEnforcedInWhatIsMade(_ copy: Bool) throws {
        try task.map(address: base, size: 3 * page, anywhere: false, current: .all, maximum: .all, inheritance: .none)
        try task.protect(address: base + page, size: page, .none)
        try task.protect(address: base + 2 * page, size: page, setMaximum: true, .read)
        let made = try task.remap(size: 3 * page, source: task, sourceAddress: base, copy: copy, inheritance: .share)
        #expect(made.current == .none && made.maximum == .read)
        let regions = try (0..<UInt64(3)).map { try task.region(made.address + $0 * page) }
        #expect(regions.map(\.current) == [.all, .none, .read] && regions.map(\.maximum) == [.all, .all, .read])
        #expect(regions.allSatisfy { $0.inheritance == .share })
        #expect(try bench.refused { _ = try task.read(address: made.address + page, size: 1) } == .protectionFailure)
        #expect(try bench.refused { try task.protect(address: made.address, size: 3 * page, .default) } == .protectionFailure)
        try bench.store.close()
    }
}
