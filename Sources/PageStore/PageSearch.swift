internal import VMTypes

/// Looks some pages of a state up in its layers, newest first, until each is found.
struct PageSearch {
    /// Not found yet; ascending.
    private(set) var wanted: [UInt32]
    private(set) var found: [UInt32: PageTable.Slot] = [:]

    /// - Parameter wanted: Ascending.
    init(_ wanted: [UInt32]) { self.wanted = wanted }

    /// Runs `body`, which tells what it finds of the pages that are wanted.
    mutating func look<E: Error>(_ body: (ArraySlice<UInt32>, (UInt32, PageTable.Slot) -> Void) throws(E) -> Void) throws(E) {
        var found = self.found
        self.found = [:]
        let before = found.count
        defer {
            if found.count > before { wanted.removeAll { found[$0] != nil } }
            self.found = found
        }
        try body(wanted[...]) { found[$0] = $1 }
    }

    /// What is wanted from `floor` on, and is not found yet, is zeros.
    mutating func cut(from floor: Int) {
        while let last = wanted.last, Int(last) >= floor { found[wanted.removeLast()] = .zeros }
    }
}

extension PageStore {
    /// Where pages of a state are; `layers` are the settled ones of its segments.
    func slots(
        of pages: [UInt32], in segments: [Segment], _ layers: [ArraySlice<SettledLayer>], young: ArraySlice<YoungRecord>,
        settled: Version,
        _ t: LMDB.Transaction
    ) throws(StoreError) -> [UInt32: PageTable.Slot] {
        var search = PageSearch(pages)
        let base = firstCheckpoint(for: segments, settled: settled, t) { CheckpointBase(segment: $0, row: $1) }
        for (index, segment) in segments.enumerated() {
            for record in young.within(segment.from, segment.through).reversed() {
                for layer in record.layers where layer.object == segment.object && !search.wanted.isEmpty { search.look(in: layer) }
            }
            var isBaseAsked = base?.segment != index
            for (version, row) in layers[index].reversed() where !search.wanted.isEmpty {
                if !isBaseAsked, let base, version <= base.row.through {
                    isBaseAsked = true
                    try look(in: base, of: segments, &search, t)
                }
                try look(in: row, of: segment.object, &search, t)
                if row.floorPage != .max { search.cut(from: Int(row.floorPage)) }
            }
            if !isBaseAsked, let base, !search.wanted.isEmpty { try look(in: base, of: segments, &search, t) }
            if search.wanted.isEmpty { return search.found }
            if segment.from != .zero { search.cut(from: Page.count(forBytes: Int(clamping: segment.size))) }
        }
        search.cut(from: 0)
        return search.found
    }

    /// Looks pages up in a settled layer: in as many of its parts as it takes, since parts and entries are in the order of the
    /// pages; in all of them, should they not be.
    private func look(in row: VersionRow, of object: ObjectID, _ search: inout PageSearch, _ t: LMDB.Transaction) throws(StoreError) {
        try search.look { (wanted, find) throws(StoreError) in
            let all = wanted
            // Parts, and the pages that may be in them.
            var open = [(wanted: wanted, parts: 0..<row.partCount, pages: 0..<UInt64.max)]
            while let (wanted, parts, pages) = open.popLast() {
                guard !wanted.isEmpty, !parts.isEmpty else { continue }
                let part = parts.lowerBound + (parts.upperBound - parts.lowerBound) / 2
                guard let value = try t.get(.records, Key(object.rawValue, row.record).with(part)) else {
                    throw missingPart(part, of: row.record, object)
                }
                let header = try header(of: part, row.record, object, in: value)
                guard let (first, last) = header.ascendingPages(within: pages) else {
                    let all = Set(all)
                    try forEachSlot(of: row, object, t) { page, slot in if all.contains(UInt32(page)) { find(UInt32(page), slot) } }
                    return
                }
                let start = wanted.partitioningIndex { $0 >= first }, end = wanted.partitioningIndex { $0 > last }
                var next = start
                header.forEachSlot(from: try t.filePage(of: value) + 1) { page, slot in
                    while next < end, Int(wanted[next]) < page { next += 1 }
                    if next < end, Int(wanted[next]) == page { find(UInt32(page), slot) }
                }
                open.append((wanted[..<start], parts.lowerBound..<part, pages.lowerBound..<UInt64(first)))
                open.append((wanted[end...], (part + 1)..<parts.upperBound, UInt64(last) + 1..<pages.upperBound))
            }
        }
    }

    /// Finds all that is wanted in a checkpoint; nothing, where that is damaged or not of these rows: the layers say the same.
    private func look(in base: CheckpointBase, of segments: [Segment], _ search: inout PageSearch, _ t: LMDB.Transaction)
        throws(StoreError)
    {
        do throws(StoreError) {
            _ = try settledLayers(of: Array(segments[base.segment...]), above: CheckpointBase(segment: 0, row: base.row), t)
        } catch {
            guard error.code == .damaged else { throw error }
            return
        }
        var found: [(UInt32, PageTable.Slot)] = []
        var wanted = search.wanted[...]
        while let page = wanted.first {
            let index = page >> UInt32(CheckpointChunk.shift)
            let end = wanted.partitioningIndex { $0 >> UInt32(CheckpointChunk.shift) > index }
            guard let slots = try chunkSlots(index, of: base.row, segments[base.segment].object, wanted[..<end], t) else { return }
            found.append(contentsOf: zip(wanted[..<end], slots))
            wanted = wanted[end...]
        }
        search.look { _, find in for (page, slot) in found { find(page, slot) } }
    }

    /// The slots of pages of one chunk of a checkpoint; nil where it is damaged.
    private func chunkSlots(
        _ index: UInt32, of row: CheckpointRow, _ object: ObjectID, _ pages: ArraySlice<UInt32>, _ t: LMDB.Transaction
    ) throws(StoreError) -> [PageTable.Slot]? {
        let place = row.chunks.partitioningIndex { $0.index >= index }
        guard place < row.chunks.count, row.chunks[place].index == index else { return pages.map { _ in .zeros } }
        var runs: [CheckpointRun] = []
        guard let value = try t.get(.checkpoints, CheckpointRow.key(object, chunk: index)), value.count == CheckpointChunk.valueSize,
            let head = value.baseAddress,
            let sum = CheckpointChunk.head(
                head, object: object, index: index, filePage: try t.filePage(of: value), sum: row.chunks[place].sum, runs: &runs),
            Checksum.of(UnsafeRawPointer(head) + CheckpointChunk.headSize, count: CheckpointChunk.slotBytes) == sum
        else { return nil }
        let slots = (head + CheckpointChunk.headSize).assumingMemoryBound(to: PageTable.Slot.self)
        return pages.map { slots[Int($0) & (CheckpointChunk.pages - 1)] }
    }
}

extension LayerPart.Header {
    /// The first and the last page of a part; nil where its pages are not ascending, or not all of `pages`.
    fileprivate func ascendingPages(within pages: Range<UInt64>) -> (first: UInt32, last: UInt32)? {
        guard let first = entries.first?.page, let last = entries.last?.page, pages.contains(UInt64(first)), pages.contains(UInt64(last)),
            zip(entries, entries.dropFirst()).allSatisfy({ $0.page < $1.page })
        else { return nil }
        return (first, last)
    }
}

extension PageSearch {
    /// Looks in a young layer.
    fileprivate mutating func look(in layer: YoungLayer) {
        look { wanted, find in
            var next = wanted.startIndex
            for (entry, place) in zip(layer.entries, layer.places) {
                while next < wanted.endIndex, wanted[next] < entry.page { next += 1 }
                guard next < wanted.endIndex else { return }
                if wanted[next] == entry.page {
                    find(entry.page, PageTable.Slot(place: place, checksum: entry.isZero ? 0 : entry.checksum))
                }
            }
        }
        if layer.floorPage != .max { cut(from: Int(layer.floorPage)) }
    }
}
