import Testing
import VMTypes

@Suite struct SyncFlagsTests {
    @Test func numbersAreMachs() {
        let flags: [SyncFlags] = [.asynchronous, .synchronous, .invalidate, .killPages, .deactivate, .contiguous]
        #expect(flags.map(\.rawValue) == [1, 2, 4, 8, 16, 32])
        #expect(SyncFlags.all.rawValue == 63)
    }

    @Test func everyCombinationIsWellFormedUnlessItIsBothSynchronousAndAsynchronous() {
        for bits: UInt32 in 0..<256 {
            #expect(SyncFlags(rawValue: bits).isWellFormed == (bits < 64 && bits & 3 != 3), "\(bits)")
        }
        #expect(!SyncFlags(rawValue: 1 << 31).isWellFormed)
    }

    @Test func descriptionNamesFlagsAndUnknownBits() {
        #expect(SyncFlags([]).description == "0")
        #expect(SyncFlags([.synchronous, .contiguous]).description == "synchronous|contiguous")
        #expect(SyncFlags(rawValue: 0x44).description == "invalidate|0x40")
    }
}
