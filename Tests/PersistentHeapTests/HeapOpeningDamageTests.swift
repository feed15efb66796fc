import Foundation
import TestSupport
import Testing
import Varve

@testable import PersistentHeap

/// Opening a heap whose first page can't be had: an error that says so, no signal.
@Suite struct HeapOpeningDamageTests {
    @Test func aHeaderThatCannotBeReadIsAnError() throws {
        let folder = TemporaryFolder("heapopening", inMemory: true), path = folder.path + "/heap.varve"
        let heap = try PersistentHeap.open(path)
        let root = try heap.root("n", of: Int.self, default: 0)
        // The first page is committed by itself, so that it lies alone and comes, checked, when it is touched.
        for value in 1...3 {
            root.value = value
            try heap.commit()
            heap.space.store(value, at: 4000)
            try heap.commit()
        }
        try heap.close()
        let magic = withUnsafeBytes(of: HeapFormat.magic.littleEndian) { Data($0) }
        var count = 0
        for name in ["pages.lmdb", "journal"] {
            let file = URL(fileURLWithPath: path + "/" + name)
            var content = try Data(contentsOf: file), from = content.startIndex
            while let found = content.range(of: magic, in: from..<content.endIndex) {
                content[found.lowerBound + 100] ^= 1
                count += 1
                from = found.upperBound
            }
            try content.write(to: file)
        }
        try #require(count > 0)
        let error = #expect(throws: HeapError.self) { try PersistentHeap.open(path) }
        #expect(error.map { "\($0)" }?.contains("can't be filled") == true, "\(String(describing: error))")
    }
}
