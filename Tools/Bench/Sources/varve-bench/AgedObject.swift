import Foundation
import Varve

/// An object of one size that many random page writes have aged, commit by commit, mapped by the task `bench`.
struct AgedObject {
    let pageCount: Int
    let pageWrites: Int
    static let full = AgedObject(pageCount: 1 << 18, pageWrites: 100_000)
    static let quick = AgedObject(pageCount: 1 << 14, pageWrites: 10_000)

    private static let pagesACommit = 256
    /// Bytes that every page has at its start, whatever else was written.
    static let mark: UInt64 = 0x5661_7276_6521_0001

    /// Makes the store, fills the object, and ages it; the store is open then.
    func make(at path: String, seed: UInt64, progress: (String) -> Void) throws -> (store: Store, task: VMTask, address: UInt64) {
        progress("filling \(pageCount) pages")
        try Store.create(path)
        let store = try Store.open(path)
        let object = try store.createObject(named: "object", size: UInt64(pageCount * 4096), residency: .exclusive)
        let task = try store.task(named: "bench")
        let address = try task.map(size: UInt64(pageCount * 4096), object: object)
        var generator = RandomPages(seed: seed, count: pageCount)
        for page in 0..<pageCount { generator.write(page, task.pointer(address)) }
        try store.commit()
        var done = 0
        while done < pageWrites {
            progress("aging: \(done) of \(pageWrites) page writes")
            let count = min(Self.pagesACommit, pageWrites - done)
            for _ in 0..<count { generator.write(generator.nextPage(), task.pointer(address)) }
            try store.commit()
            done += count
        }
        return (store, task, address)
    }
}

/// Draws pages and their contents.
struct RandomPages {
    private var state: UInt64
    private let count: Int

    init(seed: UInt64, count: Int) {
        state = seed
        self.count = count
    }

    mutating func nextPage() -> Int { Int(next() % UInt64(count)) }

    /// Fills a page with words that no other page has.
    mutating func write(_ page: Int, _ base: UnsafeMutableRawPointer) {
        let target = base + page * 4096
        var word = next() | 1
        target.storeBytes(of: AgedObject.mark, as: UInt64.self)
        for offset in stride(from: 8, to: 4096, by: 8) {
            target.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
            word = word &* 0x9e37_79b9_7f4a_7c15 &+ 1
        }
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
