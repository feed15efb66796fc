import Testing
import VMTypes

@Suite struct MemoryBehaviorTests {
    @Test func numbersAreMachs() {
        #expect(MemoryBehavior.allCases.map(\.rawValue) == [0, 1, 2, 3, 4, 5, 6, 11, 12])
        #expect(MemoryBehavior(rawValue: 5) == .dontNeed)
        #expect(MemoryBehavior(rawValue: 11) == .pageOut)
    }

    @Test(arguments: [-1, 7, 8, 9, 10, 13, .min, .max] as [Int32])
    func whatIsNotOfferedIsUnknown(number: Int32) {
        #expect(MemoryBehavior(rawValue: number) == nil)
    }

    @Test func onlyFreeAndZeroChangeBytes() {
        #expect(MemoryBehavior.allCases.filter(\.changesBytes) == [.free, .zero])
    }
}
