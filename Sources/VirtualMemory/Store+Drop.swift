internal import HostMemory
internal import PageStore
internal import VMTypes

/// Dropping what pages have uncommitted.
extension Store {
    /// Puts the last committed bytes back into pages of objects; where they can't be had, nothing has changed.
    func drop(_ pages: [ObjectID: [PageRange]], _ memory: Memory) throws(StoreError) {
        var parts: [(object: MappedObject, pages: [PageRange])] = []
        for (id, ranges) in pages {
            guard let object = memory.mapped[id], object.isWritable else { continue }
            if object.replaced.isEmpty {
                try attachView(object)
                try object.gather()
            }
            let dropped = object.uncommitted(in: ranges.map { $0.intersection(object.livePages) })
            try object.checkCommitted(dropped)
            parts.append((object, dropped))
        }
        for (object, dropped) in parts {
            if !object.replaced.isEmpty {
                for run in dropped { try object.restoreReplaced(run) }
                continue
            }
            if object.managed == nil { try object.restore(dropped) } else { try object.giveUp(dropped) }
            // A copy's lineage may begin with another state than the one that its pages came from.
            if object.base != nil, memory.created.contains(object.id) { continue }
            object.pending = object.pending.subtracting(dropped)
        }
    }

    /// Commits all but what pages of objects have uncommitted, and drops that; where the commit fails, nothing has changed.
    func commit(
        dropping pages: [ObjectID: [PageRange]], durability: Durability, _ memory: inout Memory
    ) throws(StoreError) -> Version {
        try beginCommit(&memory, declaredOnly: false)
        var aside: [(object: MappedObject, pages: [PageRange])] = []
        var substitutes: [ObjectID: CarriedPages] = [:]
        for (id, ranges) in pages {
            guard let object = memory.mapped[id], object.isWritable else { continue }
            if object.replaced.isEmpty { try attachView(object) }
            let dropped = object.uncommitted(in: ranges)
            if memory.created.contains(id), object.base != nil || !object.replaced.isEmpty {
                // The version begins with other bytes than those that are to be there: it must hold these.
                try object.unpack()
                let copy = try CarriedPages(object)
                try copy.add(object.pending) { (run, target) throws(StoreError) in try object.copyOut(run, into: target) }
                try object.forEachCommitted(in: dropped) { (piece, pager, first) throws(StoreError) in
                    try copy.add([piece]) { (run, target) throws(StoreError) in
                        try pager.fill(PageRange(start: first, count: run.count), into: target)
                    }
                }
                substitutes[id] = copy
            } else {
                try object.checkCommitted(dropped)
            }
            aside.append((object, dropped))
        }
        for (object, dropped) in aside where substitutes[object.id] == nil {
            object.pending = object.pending.subtracting(dropped)
        }
        // In memory they are uncommitted until they are dropped, whether there is a version or not.
        defer { for (object, dropped) in aside { object.pending = joined(object.pending + dropped) } }
        return try makeVersion(
            &memory, [], message: "", durability: durability, declaredOnly: false, mayTrade: false, substitutes: substitutes)
    }
}

extension MappedObject {
    /// The pages among `ranges` that were stored to since the last commit, as far as was gathered; of what was shown in the place of
    /// other memory since, all.
    func uncommitted(in ranges: [PageRange]) -> [PageRange] {
        let changed = replaced.isEmpty ? pending : joined(replaced.map(\.pages))
        return joined(ranges.flatMap { range in changed.map { $0.intersection(range) } }.filter { !$0.isEmpty })
    }

    /// Calls `body` with the pages, piece by piece, who answers for their committed bytes, and as which page the first.
    func forEachCommitted(
        in runs: [PageRange], _ body: (PageRange, any PageProvider, Int) throws(StoreError) -> Void
    ) throws(StoreError) {
        for run in runs {
            guard !replaced.isEmpty else {
                let held = run.intersection(heldPages)
                if !held.isEmpty { try body(held, pager, held.start) }
                continue
            }
            for part in replaced {
                let piece = part.pages.intersection(run)
                if !piece.isEmpty { try body(piece, part.pager, part.first + piece.start - part.pages.start) }
            }
        }
    }

    /// Throws where the committed bytes of a page can't be read; a manager's can be asked for again.
    func checkCommitted(_ runs: [PageRange]) throws(StoreError) {
        guard managed == nil, !runs.isEmpty else { return }
        let most = 64
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: most * Page.size, alignment: Page.size)
        defer { buffer.deallocate() }
        try forEachCommitted(in: runs) { (piece, pager, first) throws(StoreError) in
            for start in stride(from: 0, to: piece.count, by: most) {
                try pager.fill(PageRange(start: first + start, count: min(most, piece.count - start)), into: buffer)
            }
        }
    }
}

extension [PageRange] {
    /// The parts outside all of `others`, in order.
    func subtracting(_ others: [PageRange]) -> [PageRange] {
        let holes = VirtualMemory.joined(others)
        var result: [PageRange] = []
        var next = 0
        for run in VirtualMemory.joined(self) {
            var start = run.start
            while next < holes.count, holes[next].start < run.end {
                if holes[next].start > start { result.append(PageRange(start: start, count: holes[next].start - start)) }
                start = Swift.max(start, holes[next].end)
                // One that reaches beyond this run may hide some of the next.
                if holes[next].end > run.end { break }
                next += 1
            }
            if start < run.end { result.append(PageRange(start: start, count: run.end - start)) }
        }
        return result
    }
}
