/// For each page of a group of layers, which of them has it newest; layers are added oldest first.
///
/// Invariant: each of `chunks` is nil or an allocation of `chunkPages` initialized words that this object alone owns. Used by
/// one thread at a time: who has `PageStore.merging`.
final class PageOwners: @unchecked Sendable {
    /// 0: no layer has the page. Else the layer's number + 1, and `zeroFlag` where it says that the page is of zeros.
    private var chunks: [UnsafeMutablePointer<UInt32>?] = []
    private static let shift = 10
    private static let chunkPages = 1 << shift
    private static let zeroFlag: UInt32 = 1 << 31

    /// Of each layer: the entries that no later layer has replaced, and how many of them are whole pages.
    private(set) var entries: [Int] = []
    private(set) var pages: [Int] = []
    /// Of each layer: the whole pages that it has, replaced or not.
    private(set) var written: [Int] = []

    deinit { for chunk in chunks { chunk?.deallocate() } }

    /// Begins the next layer, which cuts off the pages from `floor` on of those before.
    func beginLayer(floor: UInt32) {
        entries.append(0)
        pages.append(0)
        written.append(0)
        guard floor != .max, Int(floor) < chunks.count << Self.shift else { return }
        for index in Int(floor) >> Self.shift..<chunks.count {
            guard let chunk = chunks[index] else { continue }
            for offset in max(0, Int(floor) - index << Self.shift)..<Self.chunkPages {
                forget(chunk[offset])
                chunk[offset] = 0
            }
        }
    }

    func add(_ entry: PageEntry) {
        let index = Int(entry.page) >> Self.shift
        if index >= chunks.count { chunks.append(contentsOf: repeatElement(nil, count: index + 1 - chunks.count)) }
        let chunk = chunks[index] ?? make(index)
        let offset = Int(entry.page) & (Self.chunkPages - 1)
        forget(chunk[offset])
        chunk[offset] = UInt32(entries.count) | (entry.isZero ? Self.zeroFlag : 0)
        entries[entries.count - 1] += 1
        if entry.isZero { return }
        pages[pages.count - 1] += 1
        written[written.count - 1] += 1
    }

    /// The layer that has the newest entry of a page; nil where none has, or a later one cut it off.
    func owner(of page: UInt32) -> Int? {
        let index = Int(page) >> Self.shift
        guard index < chunks.count, let chunk = chunks[index] else { return nil }
        let word = chunk[Int(page) & (Self.chunkPages - 1)] & ~Self.zeroFlag
        return word == 0 ? nil : Int(word) - 1
    }

    /// The memory that it takes.
    var byteCount: Int { chunks.count { $0 != nil } * Self.chunkPages * MemoryLayout<UInt32>.stride }

    /// Makes one layer of those of `run`: what a merge of them wrote, which lacks what later ones replaced.
    func join(_ run: Range<Int>) {
        for case let chunk? in chunks {
            for offset in 0..<Self.chunkPages {
                let layer = Int(chunk[offset] & ~Self.zeroFlag) - 1
                if layer > run.lowerBound { chunk[offset] -= UInt32(min(layer, run.upperBound - 1) - run.lowerBound) }
            }
        }
        let living = pages[run].reduce(0, +)
        entries.replaceSubrange(run, with: [entries[run].reduce(0, +)])
        pages.replaceSubrange(run, with: [living])
        written.replaceSubrange(run, with: [living])
    }

    private func forget(_ word: UInt32) {
        guard word != 0 else { return }
        let layer = Int(word & ~Self.zeroFlag) - 1
        entries[layer] -= 1
        if word & Self.zeroFlag == 0 { pages[layer] -= 1 }
    }

    private func make(_ index: Int) -> UnsafeMutablePointer<UInt32> {
        let made = UnsafeMutablePointer<UInt32>.allocate(capacity: Self.chunkPages)
        made.initialize(repeating: 0, count: Self.chunkPages)
        chunks[index] = made
        return made
    }
}
