import Foundation
import TestSupport
import Varve

@testable import PersistentHeap

/// A step of a random run; what it means depends on nothing but itself, so that steps can be left out.
enum BlockStep: Sendable {
    case allocate(slot: Int, byteCount: Int, alignment: Int, tag: UInt8)
    case free(slot: Int)
    case reallocate(slot: Int, byteCount: Int, tag: UInt8)
    case rewrite(slot: Int, tag: UInt8)
    case commit(declaredOnly: Bool)
    case abandon
    /// Steps that a transaction does, and then throws them away or keeps them.
    case transaction([BlockStep], isKept: Bool)
    case reopen(isCommitted: Bool)
    case check

    static func random(_ generator: inout SeededGenerator, slots: Int, isWithin: Bool = false) -> BlockStep {
        let slot = Int.random(in: 0..<slots, using: &generator)
        let tag = UInt8.random(in: 1...255, using: &generator)
        switch Int.random(in: 0..<(isWithin ? 90 : 100), using: &generator) {
        case 0..<45:
            return .allocate(slot: slot, byteCount: size(&generator), alignment: alignment(&generator), tag: tag)
        case 45..<70: return .free(slot: slot)
        case 70..<80: return .reallocate(slot: slot, byteCount: size(&generator), tag: tag)
        case 80..<90: return .rewrite(slot: slot, tag: tag)
        case 90..<94: return .commit(declaredOnly: Bool.random(using: &generator))
        case 94..<95: return .abandon
        case 95..<97:
            let steps = (0..<Int.random(in: 0...20, using: &generator)).map { _ in random(&generator, slots: slots, isWithin: true) }
            return .transaction(steps, isKept: Bool.random(using: &generator))
        case 97..<98: return .reopen(isCommitted: Bool.random(using: &generator))
        default: return .check
        }
    }

    private static func size(_ generator: inout SeededGenerator) -> Int {
        switch Int.random(in: 0..<20, using: &generator) {
        case 0: 0
        case 1..<12: Int.random(in: 1...300, using: &generator)
        case 12..<17: Int.random(in: 300...9000, using: &generator)
        case 17..<19: Int.random(in: 9000...40_000, using: &generator)
        default: Int.random(in: 40_000...400_000, using: &generator)
        }
    }

    private static func alignment(_ generator: inout SeededGenerator) -> Int {
        Int.random(in: 0..<8, using: &generator) > 0 ? 16 : 1 << Int.random(in: 0...16, using: &generator)
    }
}

/// What the blocks are meant to be: a size and a byte that fills it, slot by slot.
struct BlockModel: Equatable {
    struct Block: Equatable { var byteCount: Int, tag: UInt8, alignment: Int }
    var slots: [Block?]

    init(slots: Int) { self.slots = Array(repeating: nil, count: slots) }

    /// The step's effect, as the specification has it; false where it has none.
    mutating func apply(_ step: BlockStep) -> Bool {
        switch step {
        case .allocate(let slot, let byteCount, let alignment, let tag):
            guard slots[slot] == nil else { return false }
            slots[slot] = Block(byteCount: byteCount, tag: tag, alignment: alignment)
        case .free(let slot):
            guard slots[slot] != nil else { return false }
            slots[slot] = nil
        case .reallocate(let slot, let byteCount, let tag):
            guard slots[slot] != nil else { return false }
            slots[slot] = Block(byteCount: byteCount, tag: tag, alignment: 16)
        case .rewrite(let slot, let tag):
            guard slots[slot] != nil else { return false }
            slots[slot]!.tag = tag
        default: return false
        }
        return true
    }
}

struct BlockFailure: Error, CustomStringConvertible {
    var description: String
    init(_ text: String) { description = text }
}

struct Undone: Error {}

/// A heap whose blocks are those of a model, with a table of them in the heap itself.
final class BlockRun {
    /// Where a slot's block is. Its size and filling are recorded too, so that another process can tell them.
    struct Entry: Persistable {
        var offset: Int
        var byteCount: Int
        var tag: UInt8
    }

    static let slots = 256
    let path: String
    private(set) var heap: PersistentHeap
    private var table: Root<InlineArray<256, Entry>>
    /// How many steps are part of the state.
    private(set) var done: Root<Int>
    private(set) var model = BlockModel(slots: slots)
    private var committed = BlockModel(slots: slots)
    private var committedDone = 0

    init(_ path: String) throws {
        self.path = path
        (heap, table, done) = try Self.open(path)
        try heap.commit()
        model = try stored()
        committed = model
        committedDone = done.value
    }

    private static func open(_ path: String) throws -> (PersistentHeap, Root<InlineArray<256, Entry>>, Root<Int>) {
        let heap = try PersistentHeap.open(path, options: .init(capacity: 256 << 20, create: .init(ringBytes: 4 << 20)))
        let table = try heap.root("table", default: InlineArray<256, Entry>(repeating: Entry(offset: 0, byteCount: 0, tag: 0)))
        return (heap, table, try heap.root("done", default: 0))
    }

    /// The model that the heap's own table tells; alignments are not recorded.
    func stored() throws -> BlockModel {
        var model = BlockModel(slots: Self.slots)
        for slot in 0..<Self.slots where table.value[slot].offset != 0 {
            model.slots[slot] = .init(byteCount: table.value[slot].byteCount, tag: table.value[slot].tag, alignment: 16)
        }
        return model
    }

    func run(_ steps: [BlockStep]) throws {
        for step in steps { try run(step) }
        try verify()
    }

    func run(_ step: BlockStep) throws {
        switch step {
        case .commit(let declaredOnly):
            try heap.commit(declaredOnly: declaredOnly)
            committed = model
            committedDone = done.value
        case .abandon:
            try heap.abandon()
            model = committed
            try verify()
        case .transaction(let steps, let isKept):
            try run(.commit(declaredOnly: true))
            do {
                try heap.transaction {
                    for step in steps { try run(step) }
                    if !isKept { throw Undone() }
                }
                committed = model
                committedDone = done.value
            } catch is Undone {
                model = committed
                try verify()
            }
        case .reopen(let isCommitted):
            if isCommitted { try run(.commit(declaredOnly: false)) }
            try heap.close()
            (heap, table, done) = try Self.open(path)
            model = committed
            guard done.value == committedDone else { throw BlockFailure("reopened at step \(done.value), committed \(committedDone)") }
            try verify()
        case .check: try verify()
        default:
            let before = model.slots
            guard model.apply(step) else { break }
            try change(step, before)
        }
        switch step {
        case .abandon, .reopen, .commit, .check, .transaction: break
        default: done.value += 1
        }
    }

    private func change(_ step: BlockStep, _ before: [BlockModel.Block?]) throws {
        let space = heap.space
        switch step {
        case .allocate(let slot, let byteCount, let alignment, let tag):
            let offset = try space.allocate(byteCount: byteCount, alignment: alignment)
            guard offset > 0, (Int(bitPattern: space.base) + offset) % alignment == 0 else {
                throw BlockFailure("\(byteCount) bytes at \(offset) are not aligned to \(alignment)")
            }
            guard try space.usableSize(offset) >= byteCount else { throw BlockFailure("a block of \(byteCount) bytes is shorter") }
            fill(offset, byteCount, tag)
            table.value[slot] = Entry(offset: offset, byteCount: byteCount, tag: tag)
        case .free(let slot):
            try verify(slot, before[slot]!)
            let offset = table.value[slot].offset
            try space.free(offset)
            do {
                try space.free(offset)
                throw BlockFailure("a block was freed twice")
            } catch let error as HeapError {
                guard error.code == .notAllocated else { throw error }
            }
            table.value[slot] = Entry(offset: 0, byteCount: 0, tag: 0)
        case .reallocate(let slot, let byteCount, let tag):
            let old = before[slot]!
            try verify(slot, old)
            let offset = try space.reallocate(table.value[slot].offset, byteCount: byteCount)
            for byte in space.bytes(offset, min(byteCount, old.byteCount)) where byte != old.tag {
                throw BlockFailure("reallocating from \(old.byteCount) to \(byteCount) bytes lost bytes")
            }
            fill(offset, byteCount, tag)
            table.value[slot] = Entry(offset: offset, byteCount: byteCount, tag: tag)
        case .rewrite(let slot, let tag):
            fill(table.value[slot].offset, before[slot]!.byteCount, tag)
            table.value[slot].tag = tag
        default: break
        }
    }

    private func fill(_ offset: Int, _ byteCount: Int, _ tag: UInt8) {
        guard byteCount > 0 else { return }
        memset(heap.space.mutableBytes(offset, byteCount).baseAddress!, Int32(tag), byteCount)
    }

    private func verify(_ slot: Int, _ block: BlockModel.Block) throws {
        let entry = table.value[slot]
        guard entry.offset != 0, entry.byteCount == block.byteCount, entry.tag == block.tag else {
            throw BlockFailure("slot \(slot) is \(entry), and should be \(block)")
        }
        guard try heap.space.usableSize(entry.offset) >= block.byteCount else { throw BlockFailure("the block of slot \(slot) is short") }
        for byte in heap.space.bytes(entry.offset, block.byteCount) where byte != block.tag {
            throw BlockFailure("the block of slot \(slot), of \(block.byteCount) bytes at \(entry.offset), holds \(byte), not \(block.tag)")
        }
    }

    /// Compares all blocks with the model, with each other, and the heap with itself.
    func verify() throws {
        var ranges: [Range<Int>] = []
        for (slot, block) in model.slots.enumerated() {
            guard let block else {
                guard table.value[slot].offset == 0 else { throw BlockFailure("slot \(slot) should be empty") }
                continue
            }
            try verify(slot, block)
            let offset = table.value[slot].offset
            ranges.append(offset..<offset + (try heap.space.usableSize(offset)))
        }
        ranges.sort { $0.lowerBound < $1.lowerBound }
        for (a, b) in zip(ranges, ranges.dropFirst()) where a.upperBound > b.lowerBound {
            throw BlockFailure("blocks \(a) and \(b) overlap")
        }
        let report = try heap.check()
        guard report.problems.isEmpty else { throw BlockFailure(report.problems.prefix(5).joined(separator: "; ")) }
        // The roots take a value each, a name, a layout, and the directory: nothing else is allocated, so nothing is lost.
        let expected = ranges.count + 2 * 3 + 1
        guard report.statistics.allocatedBlocks == expected else {
            throw BlockFailure("\(report.statistics.allocatedBlocks) blocks are allocated, \(expected) are known")
        }
    }
}
