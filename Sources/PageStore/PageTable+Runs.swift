internal import VMTypes

extension PageTable.Storage {
    /// Calls `body` with runs of pages that cover `range`, in order: pages that lie together in the file, zeros, and
    /// `.journal` for what is neither, or is shorter than `least` and does not touch the end of a chunk, where it may go on.
    mutating func forEachRun(in range: Range<Int>, least: Int, _ body: (PageRange, ObjectView.Extent) -> Void) {
        var page = range.lowerBound
        // An object is mostly far larger than what is written of it.
        let written = min(range.upperBound, extent)
        defer { if page < range.upperBound { body(PageRange(start: page, count: range.upperBound - page), .zeros) } }
        while page < written {
            let index = page >> slots.chunkShift
            let end = min(range.upperBound, (index + 1) << slots.chunkShift)
            if least >= CheckpointChunk.leastRun, let runs = unreadRuns(index) {
                listed(runs, in: page..<end, of: index, body)
            } else if emptyChunkEnd(page) != nil {
                body(PageRange(start: page, count: end - page), .zeros)
            } else {
                read(in: page..<end, least, body)
            }
            page = end
        }
    }

    /// The runs that the head of an unread chunk lists, and `.journal` between them.
    private func listed(
        _ runs: ArraySlice<CheckpointRun>, in range: Range<Int>, of index: Int, _ body: (PageRange, ObjectView.Extent) -> Void
    ) {
        var page = range.lowerBound
        for run in runs {
            let first = index << slots.chunkShift + run.first
            let start = max(first, page)
            let end = min(first + run.count, range.upperBound)
            guard end > start else { continue }
            if start > page { body(PageRange(start: page, count: start - page), .journal) }
            let extent = run.filePage == 0 ? ObjectView.Extent.zeros : .file(offset: (run.filePage + start - first) * Page.size)
            body(PageRange(start: start, count: end - start), extent)
            page = end
        }
        if page < range.upperBound { body(PageRange(start: page, count: range.upperBound - page), .journal) }
    }

    /// Tells the runs of pages of one chunk, which is read first.
    private mutating func read(in range: Range<Int>, _ least: Int, _ body: (PageRange, ObjectView.Extent) -> Void) {
        _ = self[range.lowerBound]
        guard let chunk = slots.chunk(range.lowerBound >> slots.chunkShift) else { return }
        let base = range.lowerBound & ~(slots.chunkPages - 1)
        var page = range.lowerBound
        // Where a stretch of runs began that are too short to be told apart: in an aged object nearly all are.
        var shortStart: Int?
        func endShort(at end: Int) {
            if let start = shortStart { body(PageRange(start: start, count: end - start), .journal) }
            shortStart = nil
        }
        while page < range.upperBound {
            let start = page
            let place = chunk[page - base].place
            page += 1
            let extent: ObjectView.Extent
            if let first = place.filePage {
                while page < range.upperBound, chunk[page - base].place == .file(first + (page - start)) { page += 1 }
                extent = .file(offset: first * Page.size)
            } else if place == .zeros {
                while page < range.upperBound, chunk[page - base].place == .zeros { page += 1 }
                extent = .zeros
            } else {
                extent = .journal
            }
            if extent == .journal || page - start < least && start > range.lowerBound && page < range.upperBound {
                if shortStart == nil { shortStart = start }
                continue
            }
            endShort(at: start)
            body(PageRange(start: start, count: page - start), extent)
        }
        endShort(at: range.upperBound)
    }
}

/// Joins runs that go on in each other; what then has less than `least` pages is joined to `.journal`.
struct ExtentJoiner {
    let least: Int
    var joined: [(pages: PageRange, extent: ObjectView.Extent)] = []
    private var open: (pages: PageRange, extent: ObjectView.Extent)?

    init(least: Int) { self.least = least }

    mutating func add(_ pages: PageRange, _ extent: ObjectView.Extent) {
        if let last = open {
            switch (last.extent, extent) {
            case (.zeros, .zeros), (.journal, .journal):
                open!.pages.count += pages.count
                return
            case (.file(let before), .file(let offset)) where offset == before + last.pages.count * Page.size:
                open!.pages.count += pages.count
                return
            default: finish()
            }
        }
        open = (pages, extent)
    }

    /// Ends the last run.
    mutating func finish() {
        guard let (pages, extent) = open else { return }
        open = nil
        let kept = pages.count < least ? .journal : extent
        if kept == .journal, joined.last?.extent == .journal {
            joined[joined.count - 1].pages.count += pages.count
        } else {
            joined.append((pages, kept))
        }
    }
}
