import Foundation
import TestSupport
import Testing
import Varve

@Suite struct HeapTests {
    @Test func countsAcrossOpenings() throws {
        let folder = TemporaryFolder()
        for expected in 1...3 {
            let heap = try PersistentHeap.open(folder.path + "/counter.varve")
            let n = try heap.root("n", of: Int.self, default: 0)
            n.value += 1
            try heap.commit()
            #expect(n.value == expected)
            try heap.close()
        }
    }
}
