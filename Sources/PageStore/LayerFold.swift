internal import VMTypes

/// What several layers of one object come to: the newest entry of each page. Layers are added oldest first.
///
/// Used by one thread at a time.
final class LayerFold {
    private var storage = SlotArray(chunkShift: 9)
    private(set) var count = 0

    deinit { storage.deallocate() }

    /// A page of zeros that a layer wrote, as against one that no layer has.
    private static let writtenZeros = PageTable.Slot(place: .zeros, checksum: Checksum.zeroPage)

    func add(_ entry: PageEntry, _ place: Place) {
        let page = Int(entry.page)
        if Mutant.isPlanted(.oldestBytesWin), storage[page] != .zeros { return }
        if storage[page] == .zeros { count += 1 }
        storage[page] = entry.isZero ? Self.writtenZeros : PageTable.Slot(place: place, checksum: entry.checksum)
    }

    func contains(_ page: UInt32) -> Bool { storage[Int(page)] != .zeros }

    /// Forgets the pages from `floor` on: a later layer cut them off.
    func clear(from floor: UInt32) {
        guard floor != .max, Int(floor) < storage.extent else { return }
        storage.clear(from: Int(floor))
        count = 0
        storage.forEachWritten { _, _ in count += 1 }
    }

    /// The pages in ascending order, each with where its bytes are.
    func pages() -> [(entry: PageEntry, place: Place)] {
        var pages: [(entry: PageEntry, place: Place)] = []
        pages.reserveCapacity(count)
        storage.forEachWritten { page, slot in
            let mask = slot.place == .zeros ? PageEntry.zeros : PageEntry.wholePage
            pages.append((PageEntry(page: UInt32(page), mask: mask, checksum: slot.checksum), slot.place))
        }
        return pages
    }
}
