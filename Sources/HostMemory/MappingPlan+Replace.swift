internal import VMTypes

extension MappingPlan {
    /// Gives live pages another backing; neighbours of the same shadow file become one area, as they do for the kernel.
    mutating func replace(_ pages: PageRange, with backing: Backing) {
        guard pages.count > 0, let first = index(endingAfter: pages.start) else { return }
        var last = first
        while last + 1 < areas.count, areas[last + 1].pages.start < pages.end { last += 1 }
        var made: [Area] = []
        let before = areas[first], after = areas[last]
        if before.pages.start < pages.start {
            made.append(part(of: before, PageRange(start: before.pages.start, count: pages.start - before.pages.start)))
        }
        made.append(Area(pages: pages, backing: backing))
        if after.pages.end > pages.end {
            made.append(part(of: after, PageRange(start: pages.end, count: after.pages.end - pages.end)))
        }
        var low = first, high = last
        if low > 0 {
            low -= 1
            made.insert(areas[low], at: 0)
        }
        if high + 1 < areas.count {
            high += 1
            made.append(areas[high])
        }
        var joined: [Area] = []
        for area in made {
            if case .shadow = area.backing, let index = joined.indices.last, joined[index].backing == area.backing {
                joined[index].pages.count += area.pages.count
            } else {
                joined.append(area)
            }
        }
        replaceAreas(low...high, with: joined)
    }

    /// The parts of `range` that are filled on demand.
    func demandParts(of range: PageRange) -> [PageRange] {
        var parts: [PageRange] = []
        guard var index = index(endingAfter: range.start) else { return parts }
        while index < areas.count, areas[index].pages.start < range.end {
            if areas[index].backing == .demand {
                let part = areas[index].pages.intersection(range)
                parts.appendRun(start: part.start, end: part.end)
            }
            index += 1
        }
        return parts
    }

    /// The areas that overlap `range`, cut to it.
    func areas(in range: PageRange) -> [Area] {
        var found: [Area] = []
        guard var index = index(endingAfter: range.start) else { return found }
        while index < areas.count, areas[index].pages.start < range.end {
            found.append(part(of: areas[index], areas[index].pages.intersection(range)))
            index += 1
        }
        return found
    }

    private func part(of area: Area, _ pages: PageRange) -> Area {
        guard case .file(let offset) = area.backing else { return Area(pages: pages, backing: area.backing) }
        return Area(pages: pages, backing: .file(offset: offset + (pages.start - area.pages.start) << Page.shift))
    }

    /// Pages that are copied to private memory when they are mapped, or when they are touched.
    func privatePages(_ runs: [(pages: PageRange, kind: RunKind)]) -> Int {
        var count = copies.reduce(0) { $0 + $1.count }
        for area in areas where area.backing == .demand { count += area.pages.count }
        // Zeros among them are not.
        for run in runs where run.kind == .zero { count -= demandParts(of: run.pages).reduce(0) { $0 + $1.count } }
        return count
    }

    /// Gives what would be copied to private memory another backing: whole page tables of the kernel that hold some of it.
    mutating func spill(_ tables: [PageRange], to backing: Backing) {
        for table in tables { replace(table, with: backing) }
        copies = []
    }
}
