import TestSupport
import Testing

@testable import PageStore

/// Copies of slot arrays share what neither has written since; nobody may see that.
@Suite struct SlotArrayTests {
    @Test(arguments: 0..<8) func copiesAreIndependent(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var arrays: [(slots: SlotArray, model: [Int: PageTable.Slot])] = [(SlotArray(chunkShift: 3), [:])]
        defer { for index in arrays.indices { arrays[index].slots.deallocate() } }
        for step in 1...4_000 {
            let index = Int.random(in: arrays.indices, using: &random)
            switch Int.random(in: 0..<20, using: &random) {
            case 0 where arrays.count < 6:
                arrays.append((arrays[index].slots.copy(), arrays[index].model))
            case 1 where arrays.count > 1:
                arrays[index].slots.deallocate()
                arrays.remove(at: index)
            case 2:
                let floor = Int.random(in: 0..<80, using: &random)
                arrays[index].slots.clear(from: floor)
                arrays[index].model = arrays[index].model.filter { $0.key < floor }
            default:
                let page = Int.random(in: 0..<64, using: &random)
                let slot = Bool.random(using: &random) ? PageTable.Slot(place: .file(step), checksum: UInt64(step)) : .zeros
                arrays[index].slots[page] = slot
                arrays[index].model[page] = slot == .zeros ? nil : slot
            }
            guard step % 50 == 0 else { continue }
            for (slots, model) in arrays {
                for page in 0..<80 { #expect(slots[page] == model[page] ?? .zeros, "seed \(seed), step \(step), page \(page)") }
                var written: [Int: PageTable.Slot] = [:]
                slots.forEachWritten { written[$0] = $1 }
                #expect(written == model, "seed \(seed), step \(step)")
            }
        }
    }

    @Test func aCopyTakesNoPagesUntilOneSideWrites() {
        var first = SlotArray(chunkShift: 3)
        first[1] = PageTable.Slot(place: .file(7), checksum: 7)
        first[9] = PageTable.Slot(place: .file(8), checksum: 8)
        var second = first.copy()
        #expect(first.chunk(0) == second.chunk(0))
        second[1] = .zeros
        #expect(first.chunk(0) != second.chunk(0))
        #expect(first.chunk(1) == second.chunk(1))
        #expect(first[1].checksum == 7)
        first.deallocate()
        #expect(second[9].checksum == 8)
        second.deallocate()
    }
}
