/// What the mixes need of an allocator; as `peers/heap/allocation.h` has it in C, where a change belongs too.
protocol MixAllocator {
    func allocate(_ byteCount: Int) throws -> UnsafeMutableRawPointer
    func free(_ block: UnsafeMutableRawPointer) throws
}

enum AllocationMix: String, CaseIterable {
    /// Replaces blocks of 16 to 512 bytes at random (Larson and Krishnan, ISMM 1998).
    case larson
    /// Allocates ten thousand blocks of 16 to 64 bytes, frees them in that order, and again.
    case heavy
    /// Replaces blocks of 16 bytes to 64 KiB at random, as many of each power of two.
    case mixed

    func run(_ allocator: some MixAllocator, operations: Int, seed: UInt64) throws {
        switch self {
        case .larson: try Self.larson(allocator, operations, MixRandom(state: seed))
        case .heavy: try Self.heavy(allocator, operations, MixRandom(state: seed))
        case .mixed: try Self.mixed(allocator, operations, MixRandom(state: seed))
        }
    }

    private static func larson(_ allocator: some MixAllocator, _ operations: Int, _ start: MixRandom) throws {
        var random = start
        try withSlots(1000) { slots in
            for index in slots.indices { slots[index] = try made(allocator, 16 + Int(random.next() % 497), random.state) }
            for _ in 0..<operations {
                let r = random.next()
                let index = Int(r % 1000)
                try allocator.free(slots[index])
                slots[index] = try made(allocator, 16 + Int((r >> 32) % 497), r)
            }
            for index in slots.indices { try allocator.free(slots[index]) }
        }
    }

    private static func heavy(_ allocator: some MixAllocator, _ operations: Int, _ start: MixRandom) throws {
        var random = start
        try withSlots(10_000) { blocks in
            for done in stride(from: 0, to: operations, by: 10_000) {
                let indices = 0..<min(10_000, operations - done)
                for index in indices { blocks[index] = try made(allocator, 16 + Int(random.next() % 49), random.state) }
                for index in indices { try allocator.free(blocks[index]) }
            }
        }
    }

    private static func mixed(_ allocator: some MixAllocator, _ operations: Int, _ start: MixRandom) throws {
        var random = start
        try withSlots(1000) { slots in
            for index in slots.indices { slots[index] = try made(allocator, 16, random.state) }
            for _ in 0..<operations {
                let r = random.next()
                let index = Int(r % 1000)
                let size = 16 << Int((r >> 16) % 12)
                try allocator.free(slots[index])
                slots[index] = try made(allocator, size + Int(r >> 32) % size, r)
            }
            for index in slots.indices { try allocator.free(slots[index]) }
        }
    }

    @inline(__always)
    private static func made(_ allocator: some MixAllocator, _ byteCount: Int, _ value: UInt64) throws -> UnsafeMutableRawPointer {
        let block = try allocator.allocate(byteCount)
        block.storeBytes(of: value, as: UInt64.self)
        return block
    }

    @inline(__always)
    private static func withSlots(_ count: Int, _ body: (UnsafeMutableBufferPointer<UnsafeMutableRawPointer>) throws -> Void) throws {
        let slots = UnsafeMutableBufferPointer<UnsafeMutableRawPointer>.allocate(capacity: count)
        defer { slots.deallocate() }
        try body(slots)
    }
}

/// SplitMix64, as in the peers.
struct MixRandom {
    var state: UInt64

    @inline(__always)
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return Self.scattered(state)
    }

    /// A permutation of the 64-bit words.
    @inline(__always)
    static func scattered(_ word: UInt64) -> UInt64 {
        var z = word
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
