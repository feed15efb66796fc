internal import Glibc
internal import VMTypes

extension PageStore {
    /// Reads a page of a young record, unchecked: its chain from memory and the journal, what lies below from the page store.
    func readYoung(_ place: Place, into page: UnsafeMutableRawPointer, usesMemory: Bool = true) throws(StoreError) {
        while true {
            guard let gathered = youngPages.gather(place, into: page, usesMemory: usesMemory) else {
                throw StoreError(.damaged, "a young page has moved while it was read", path: journal.file.path)
            }
            if gathered.missing.isEmpty && gathered.covered == LineMask.all { return }
            var failure: StoreError?
            do throws(StoreError) { try complete(gathered, in: page) } catch { failure = error }
            // What has moved meanwhile may have been read from a place that has been used again.
            if youngPages.generation != gathered.generation { continue }
            if let failure { throw failure }
            return
        }
    }

    /// Reads what memory does not have of a page.
    private func complete(_ gathered: YoungPages.Gathered, in page: UnsafeMutableRawPointer) throws(StoreError) {
        for missing in gathered.missing { try readLines(missing, into: page) }
        guard gathered.covered != LineMask.all else { return }
        let below = AlignedBuffer(capacity: Page.size)
        try readPlace(gathered.bottom.place, into: below[0..<Page.size])
        LineMask.copy(~gathered.covered, from: below.base, to: page)
    }

    /// Reads lines of a young page from the journal.
    func readLines(_ missing: YoungPages.Gathered.Missing, into page: UnsafeMutableRawPointer) throws(StoreError) {
        let bytes = missing.mask.nonzeroBitCount * LineMask.lineSize
        let start = missing.position / UInt64(Page.size) * UInt64(Page.size)
        let offset = Int(missing.position - start)
        let block = AlignedBuffer(capacity: offset + bytes)
        try journal.read(into: block[0..<Page.count(forBytes: offset + bytes) * Page.size], at: start)
        LineMask.unpack(missing.lines, of: missing.mask, from: block.base + offset, to: page)
    }

    /// Says what the patches of an object's young layers up to `version` lie over, where recovery found them and nobody has
    /// asked yet. Called with `settling` held, so that nothing moves meanwhile.
    func linkYoungPages(of object: ObjectID, at version: Version) throws(StoreError) {
        let links = try build(object, at: version).links
        youngPages.link(links)
    }
}

extension PageStore {
    /// Patches of an object's young layers of which nobody can say what they lie over lie over what is lost.
    func loseYoungPages(of object: ObjectID, through version: Version) {
        let young = state.withLock { $0.young }
        for record in young where record.version <= version {
            for layer in record.layers where layer.object == object && layer.record == 0 {
                youngPages.link(layer.places.filter { youngPages.isUnlinked($0) }.map { (patch: $0, under: PageTable.Slot.lost) })
            }
        }
    }
}

/// How a page that a commit brings differs from the committed one.
enum PageChange {
    case none
    /// It is zeros now.
    case zeros
    /// Only these lines differ.
    case lines(UInt64)
    /// Much differs, or what is committed is not at hand.
    case whole
}

/// What the pages of one commit are compared with: the head's page tables as they are when it begins.
///
/// Used by the thread that commits.
final class CommittedPages {
    private let store: PageStore
    private let inputs: [LayerInput]
    private let tables: [PageTable?]
    /// What lies under the layer is another state from this commit on: it is compared with nothing.
    private let isRebased: [Bool]
    /// The committed page, and another one below it.
    private let buffer = AlignedBuffer(capacity: 2 * Page.size)
    private var isInMemory = true
    private var settledPages = 0

    /// Of a page's lines that are written as a patch; beyond, half of the bytes and less would be saved.
    static let mostLines = 32
    /// Patches over a page that is whole, and their lines: then the page is written whole again.
    static let deepestChain = 16
    static let mostLinesOfChain = 64
    /// After so many pages that were changed all over, one of so many is compared.
    static let streak = 16

    init(_ store: PageStore, _ inputs: [LayerInput], _ operations: [StoreOperation]) {
        self.store = store
        self.inputs = inputs
        let rebased = Set(operations.compactMap { if case .lineage(let object, _, _, _) = $0 { object } else { nil } })
        isRebased = inputs.map { rebased.contains($0.object) && !Mutant.isPlanted(.rebasedPageUnchanged) }
        tables = store.state.withLock { state in inputs.map { state.heads[$0.object] } }
    }

    /// True where a page is what is committed, given its checksum; its bytes are compared.
    func isUnchanged(_ layer: Int, _ page: Int, _ sum: UInt64, _ bytes: UnsafeRawPointer) -> Bool {
        guard let slot = slot(layer, page) else { return false }
        if slot.place == .zeros { return sum == Checksum.zeroPage && isZeroPage(bytes) }
        return slot.checksum == sum && isSame(slot, bytes)
    }

    /// How a page of a layer, given by its index, differs from what is committed. `bytes` are aligned; `sum` is their checksum.
    func change(_ layer: Int, _ page: Int, _ sum: UInt64, _ bytes: UnsafeRawPointer) -> PageChange {
        let isZero = sum == Checksum.zeroPage && isZeroPage(bytes)
        guard let slot = slot(layer, page) else { return isZero ? .zeros : .whole }
        if isZero { return slot.place == .zeros ? .none : .zeros }
        if slot.place == .zeros {
            memset0(buffer.base, Page.size)
            return LineMask.differences(bytes, buffer.base, limit: Self.mostLines).map { .lines($0) } ?? .whole
        }
        if slot.checksum == sum, isSame(slot, bytes) { return .none }
        guard let table = tables[layer] else { return .whole }
        if table.wholeStreak >= Self.streak, table.wholeStreak % Self.streak != 0 {
            table.wholeStreak += 1
            return .whole
        }
        guard let (depth, lineCount) = copyAtHand(slot),
            let mask = LineMask.differences(bytes, buffer.base, limit: Self.mostLines)
        else {
            table.wholeStreak += 1
            return .whole
        }
        table.wholeStreak = 0
        guard depth < Self.deepestChain, lineCount + mask.nonzeroBitCount <= Self.mostLinesOfChain,
            // What is not what was committed must not lie under a patch.
            Checksum.of(UnsafeRawPointer(buffer.base), count: Page.size) == slot.checksum
        else { return .whole }
        return .lines(mask)
    }

    /// The committed page; nil where nothing is known of it.
    private func slot(_ layer: Int, _ page: Int) -> PageTable.Slot? {
        if isRebased[layer] { return nil }
        // The layer itself takes away what was committed from its floor on.
        if page >= Int(inputs[layer].floorPage) { return .zeros }
        return tables[layer]?[page]
    }

    private func isSame(_ slot: PageTable.Slot, _ bytes: UnsafeRawPointer) -> Bool {
        if copyAtHand(slot) == nil, (try? store.readPlace(slot.place, into: buffer[0..<Page.size])) == nil { return false }
        return memcmp(buffer.base, bytes, Page.size) == 0
    }

    /// Copies the committed page to `buffer` where that takes neither the ring nor the disk; answers how long its chain is.
    private func copyAtHand(_ slot: PageTable.Slot) -> (depth: Int, lineCount: Int)? {
        let page = buffer.base
        if let file = slot.place.filePage { return copySettled(file, to: page) ? (0, 0) : nil }
        guard slot.place.isYoung, let gathered = store.youngPages.gather(slot.place, into: page), gathered.missing.isEmpty else {
            return nil
        }
        guard gathered.covered != LineMask.all else { return (gathered.depth, gathered.lineCount) }
        if gathered.bottom.place == .zeros {
            LineMask.clear(~gathered.covered, in: page)
        } else {
            let below = page + Page.size
            guard let file = gathered.bottom.place.filePage, copySettled(file, to: below) else { return nil }
            LineMask.copy(~gathered.covered, from: below, to: page)
        }
        return (gathered.depth, gathered.lineCount)
    }

    /// Asking the kernel whether a page is in memory costs more than comparing it: one of so many is asked about, and where one
    /// is not, no more of this commit's are read.
    private static let sample = 16

    private func copySettled(_ page: Int, to target: UnsafeMutableRawPointer) -> Bool {
        guard isInMemory else { return false }
        defer { settledPages += 1 }
        isInMemory = store.lmdb.copyPage(page, to: target, ifInMemory: settledPages % Self.sample == 0)
        return isInMemory
    }
}
