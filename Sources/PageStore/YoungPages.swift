internal import Synchronization
internal import VMTypes

/// The pages of young records, whole ones and patches, and what each patch lies over: chains that end in a whole page, in
/// the page store's file or in zeros.
///
/// A `Place` names a node by its index and a serial number, so that one that was let go of is known for that. Thread-safe:
/// one lock, a leaf, held across no I/O.
///
/// Invariants: a patch lies over what its object's page was before its layer, an older node or a settled place; whoever
/// moves or frees that tells it in the same step (`relocate`), with the store's state locked. A node's `bytes`, where it has
/// any, stay valid until they are taken away (`forgetBytes`, `free`).
final class YoungPages: @unchecked Sendable {
    private struct Node {
        /// Of a patch: where the page below is, and its checksum.
        var under: PageTable.Slot
        var mask: UInt64
        /// The logical position of its first byte in the journal.
        var position: UInt64
        /// The same bytes in memory.
        var bytes: UnsafeRawPointer?
        var serial: UInt32
        /// The first patch that lies over this page, and the next one that lies over the same page; −1 for none.
        var over: Int32 = -1
        var sibling: Int32 = -1
    }

    /// What a look along a chain gave.
    struct Gathered {
        /// Lines that are not in memory, and where in the journal the lines of their patch begin.
        struct Missing {
            var lines: UInt64
            var mask: UInt64
            var position: UInt64
        }

        /// The lines that the chain's nodes have; the others are those of `bottom`.
        var covered: UInt64 = 0
        var bottom = PageTable.Slot.zeros
        var missing: [Missing] = []
        /// Patches in the chain, and their lines.
        var depth = 0
        var lineCount = 0
        /// Of all chains when this one was looked at.
        var generation: UInt64
    }

    private static let chunkShift = 12
    private let mutex = Mutex(())
    private var chunks: [UnsafeMutablePointer<Node>] = []
    private var free: [Int32] = []
    private var used = 0
    /// Patches of which nobody has said what they lie over.
    private var unlinked = 0
    private var serial: UInt32 = 0
    private var changes: UInt64 = 0

    deinit { for chunk in chunks { chunk.deallocate() } }

    private func locked<R>(_ body: () -> R) -> R {
        mutex._unsafeLock()
        defer { mutex._unsafeUnlock() }
        return body()
    }

    private func node(_ index: Int) -> UnsafeMutablePointer<Node> {
        chunks[index >> Self.chunkShift] + (index & (1 << Self.chunkShift - 1))
    }

    /// The node that `place` names; nil where it names none, or one that was freed.
    private func live(_ place: Place) -> UnsafeMutablePointer<Node>? {
        guard case .young(let index, let serial) = place.kind, index < chunks.count << Self.chunkShift else { return nil }
        let node = node(index)
        return node.pointee.serial == serial ? node : nil
    }

    // MARK: Making and freeing

    /// Makes a node for each entry of a layer whose pages are in the journal: whole pages from `pages` on, and lines from
    /// `lines` on, logical positions that are moved on. `bytes` are those at `position`, where they are in memory.
    func add(
        _ entries: [PageEntry], pages: inout UInt64, lines: inout UInt64, bytes: UnsafeRawPointer?, position: UInt64
    ) -> [Place] {
        locked {
            entries.map { entry in
                if entry.isZero { return .zeros }
                let start = entry.isWhole ? pages : lines
                if entry.isWhole { pages += UInt64(Page.size) } else { lines += UInt64(entry.mask.nonzeroBitCount * LineMask.lineSize) }
                let index = take()
                if entry.isPatch { unlinked += 1 }
                serial = serial & Place.serialMask == Place.serialMask ? 1 : serial + 1
                node(index).initialize(
                    to: Node(
                        under: PageTable.Slot(place: entry.isWhole ? .zeros : .unknown, checksum: 0), mask: entry.mask,
                        position: start, bytes: bytes.map { $0 + Int(start - position) }, serial: serial))
                return .young(node: index, serial: serial)
            }
        }
    }

    private func take() -> Int {
        used += 1
        if let index = free.popLast() { return Int(index) }
        let first = chunks.count << Self.chunkShift
        let chunk = UnsafeMutablePointer<Node>.allocate(capacity: 1 << Self.chunkShift)
        chunk.initialize(
            repeating: Node(under: .zeros, mask: 0, position: 0, bytes: nil, serial: .max), count: 1 << Self.chunkShift)
        chunks.append(chunk)
        for index in (first + 1..<first + 1 << Self.chunkShift).reversed() { free.append(Int32(index)) }
        return first
    }

    /// Says what patches lie over, where nobody has said so yet.
    func link(_ links: [(patch: Place, under: PageTable.Slot)]) {
        locked { for (patch, under) in links { link(patch, under) } }
    }

    private func link(_ patch: Place, _ under: PageTable.Slot) {
        guard let node = live(patch), node.pointee.mask != LineMask.all, node.pointee.under.place == .unknown else { return }
        node.pointee.under = under
        if under.place != .unknown { unlinked -= 1 }
        guard let below = live(under.place), case .young(let index, _) = patch.kind else { return }
        node.pointee.sibling = below.pointee.over
        below.pointee.over = Int32(index)
    }

    /// Pages of young records have settled: patches that lie over them lie over their new places.
    func relocate(_ moves: [Relocation]) {
        locked {
            changes += 1
            for move in moves {
                guard let node = live(move.from) else { continue }
                var index = node.pointee.over
                node.pointee.over = -1
                while index >= 0 {
                    let patch = self.node(Int(index))
                    patch.pointee.under.place = move.to
                    index = patch.pointee.sibling
                    patch.pointee.sibling = -1
                }
            }
        }
    }

    /// Frees nodes whose records have settled; what lay over one that nobody moved has to be asked for anew.
    func remove(_ places: [Place]) {
        locked {
            changes += 1
            for place in places {
                guard case .young(let index, _) = place.kind, let node = live(place) else { continue }
                var over = node.pointee.over
                while over >= 0 {
                    let patch = self.node(Int(over))
                    over = patch.pointee.sibling
                    patch.pointee.under = PageTable.Slot(place: .unknown, checksum: 0)
                    patch.pointee.sibling = -1
                    unlinked += 1
                }
                if node.pointee.under.place == .unknown { unlinked -= 1 }
                node.pointee.serial = .max
                node.pointee.bytes = nil
                node.pointee.over = -1
                free.append(Int32(index))
                used -= 1
            }
            guard used == 0, chunks.count > 1 else { return }
            for chunk in chunks { chunk.deallocate() }
            chunks = []
            free = []
        }
    }

    /// Merging has moved settled pages: patches that lie over them are told, some thousand nodes at a time.
    func relocateSettled(_ moves: [Relocation]) {
        guard locked({ changes += 1; return used > 0 }) else { return }
        var moved: [Place: Place] = [:]
        moved.reserveCapacity(moves.count)
        var last = 0
        for move in moves {
            guard let page = move.from.filePage else { continue }
            moved[move.from] = move.to
            last = max(last, page)
        }
        guard !moved.isEmpty else { return }
        // Most nodes lie over nothing that has moved: a bit a page answers faster than a dictionary.
        var bits = [UInt64](repeating: 0, count: last >> 6 + 1)
        for place in moved.keys { if let page = place.filePage { bits[page >> 6] |= 1 << UInt64(page & 63) } }
        var chunk = 0
        while locked({
            guard chunk < chunks.count else { return false }
            for index in 0..<1 << Self.chunkShift {
                let node = chunks[chunk] + index
                guard let page = node.pointee.under.place.filePage, page <= last, bits[page >> 6] & 1 << UInt64(page & 63) != 0,
                    let to = moved[node.pointee.under.place]
                else { continue }
                node.pointee.under.place = to
            }
            chunk += 1
            return true
        }) {}
        locked { changes += 1 }
    }

    /// The memory that holds the bytes of these pages goes: they are in the journal alone.
    func forgetBytes(of places: [Place]) {
        locked { for place in places { live(place)?.pointee.bytes = nil } }
    }

    // MARK: Reading

    /// Changes with every move: what was read from places that were asked for before may be another page's.
    var generation: UInt64 { locked { changes } }

    /// Copies what is in memory of a page's chain to `page`, the newest bytes of each line; nil where the page has moved.
    ///
    /// - Parameter usesMemory: False: all lines are `missing`.
    func gather(_ place: Place, into page: UnsafeMutableRawPointer, usesMemory: Bool = true) -> Gathered? {
        locked {
            guard var node = live(place) else { return nil }
            var gathered = Gathered(generation: changes)
            while true {
                let mask = node.pointee.mask
                let lines = mask & ~gathered.covered
                if lines != 0 {
                    if usesMemory, let bytes = node.pointee.bytes {
                        LineMask.unpack(lines, of: mask, from: bytes, to: page)
                    } else {
                        gathered.missing.append(Gathered.Missing(lines: lines, mask: mask, position: node.pointee.position))
                    }
                }
                gathered.covered |= mask
                if mask == LineMask.all { return gathered }
                gathered.depth += 1
                gathered.lineCount += mask.nonzeroBitCount
                gathered.bottom = node.pointee.under
                guard node.pointee.under.place.isYoung else { return gathered }
                guard let below = live(node.pointee.under.place) else { return nil }
                node = below
            }
        }
    }

    /// Whether of some patch nobody has said yet what it lies over.
    var hasUnlinked: Bool { locked { unlinked > 0 } }

    /// Whether it is known what the chain of `place` ends in.
    func isKnown(_ place: Place) -> Bool {
        locked {
            guard var node = live(place) else { return true }
            while node.pointee.mask != LineMask.all {
                if node.pointee.under.place == .unknown { return false }
                guard let below = live(node.pointee.under.place) else { return true }
                node = below
            }
            return true
        }
    }

    /// Whether `place` is that of a page which is in the journal at `position` or behind it.
    func isLive(_ place: Place, from position: UInt64) -> Bool { locked { live(place).map { $0.pointee.position >= position } ?? false } }

    /// Whether nobody has said yet what a patch lies over.
    func isUnlinked(_ place: Place) -> Bool { locked { live(place)?.pointee.under.place == .unknown } }
}
