internal import VMTypes

/// How a mapping is laid out: areas that each become one kernel mapping.
///
/// Pure: computed from runs, tested without any memory.
struct MappingPlan: Sendable {
    enum Backing: Sendable, Equatable {
        /// Anonymous memory that reads as zeros until it is stored to or copied into.
        case plain
        /// Anonymous memory whose absent pages are filled when touched.
        case demand
        /// Private pages of the provider's file.
        case file(offset: Int)
        /// Private pages of the mapping's shadow file of that generation, each at its place.
        case shadow(Int)
    }

    struct Area: Sendable, Equatable {
        var pages: PageRange
        var backing: Backing
    }

    /// In order, without gaps; they cover `live`.
    private(set) var areas: [Area] = []
    /// Ranges to copy while mapping, where nothing fills on demand.
    var copies: [PageRange] = []
    /// The pages before the object's end.
    private(set) var live: PageRange

    /// - Parameters:
    ///   - minimumRun: Shorter runs of the file are not mapped from it.
    ///   - budget: The most areas there may be; `minimumRun` doubles until they are few enough.
    init(
        _ runs: [(pages: PageRange, kind: RunKind)], pages: PageRange, minimumRun: Int, demandFill: Bool, budget: Int
    ) {
        var minimum = max(1, minimumRun)
        while true {
            live = PageRange(start: pages.start, count: 0)
            areas.removeAll(keepingCapacity: true)
            copies.removeAll(keepingCapacity: true)
            layOut(runs, minimum: minimum, demandFill: demandFill)
            if areas.count <= max(1, budget) || minimum > pages.count { return }
            minimum *= 2
        }
    }

    /// A plan that says only which pages are filled when they are touched: `demand`, in order, within `pages`.
    init(demand: [PageRange], in pages: PageRange) {
        live = pages
        for run in demand {
            let part = run.intersection(pages)
            if part.count > 0 { areas.append(Area(pages: part, backing: .demand)) }
        }
    }

    private mutating func layOut(_ runs: [(pages: PageRange, kind: RunKind)], minimum: Int, demandFill: Bool) {
        let anonymous: Backing = demandFill ? .demand : .plain
        // Bytes must come from somewhere in the anonymous area that is being built.
        var hasBytes = false
        var index = 0
        while index < runs.count {
            var (pages, kind) = runs[index]
            index += 1
            if case .file(let offset) = kind {
                // Neighbours in the file are one run.
                while index < runs.count, case .file(let next) = runs[index].kind,
                    next == offset + pages.count << Page.shift
                {
                    pages.count += runs[index].pages.count
                    index += 1
                }
                if offset % Page.size != 0 || pages.count < minimum { kind = .fill }
            }
            while kind == .zero, index < runs.count, runs[index].kind == .zero {
                pages.count += runs[index].pages.count
                index += 1
            }
            switch kind {
            case .beyondEnd:
                settle(&hasBytes)
                return
            case .file(let offset):
                settle(&hasBytes)
                areas.append(Area(pages: pages, backing: .file(offset: offset)))
            case .zero where demandFill && pages.count >= 4 * minimum:
                settle(&hasBytes)
                areas.append(Area(pages: pages, backing: .plain))
            case .zero:
                extend(pages, anonymous)
            case .fill:
                extend(pages, anonymous)
                hasBytes = true
                if !demandFill { copies.appendRun(start: pages.start, end: pages.end) }
            }
            live.count = pages.end - live.start
        }
        settle(&hasBytes)
    }

    private mutating func extend(_ pages: PageRange, _ backing: Backing) {
        if let last = areas.indices.last, areas[last].backing == backing {
            areas[last].pages.count += pages.count
        } else {
            areas.append(Area(pages: pages, backing: backing))
        }
    }

    /// Ends an anonymous area; one without bytes to fill needs no service, and joins a plain one before it.
    private mutating func settle(_ hasBytes: inout Bool) {
        defer { hasBytes = false }
        guard !hasBytes, let last = areas.last, last.backing == .demand else { return }
        areas.removeLast()
        extend(last.pages, .plain)
    }

    /// The area that holds a live page.
    func area(holding page: Int) -> Area? {
        guard let index = index(endingAfter: page), areas[index].pages.contains(page) else { return nil }
        return areas[index]
    }

    /// The first area that ends after a page.
    func index(endingAfter page: Int) -> Int? {
        var low = 0, high = areas.count
        while low < high {
            let middle = (low + high) / 2
            if areas[middle].pages.end <= page { low = middle + 1 } else { high = middle }
        }
        return low < areas.count ? low : nil
    }

    mutating func replaceAreas(_ range: ClosedRange<Int>, with made: [Area]) { areas.replaceSubrange(range, with: made) }
}
