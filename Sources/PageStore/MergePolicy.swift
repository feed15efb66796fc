/// When layers are merged in the background, and which: the emptiest first, as a log is cleaned.
///
/// What is dead in a layer takes space until the layer is written again without it, and what lives in it is what that costs.
/// Simulated beside others (uniform, Zipf and hot choices of pages): taking whole groups that are half dead wrote three times
/// as much; weighing what is dead by the square root of a layer's age wrote 3 % less for Zipf, and 9 % more for hot ones.
package struct MergePolicy: Sendable {
    /// Pages that the layers take, for each page that must be kept, above which some are merged.
    package var most: Double
    /// The same, down to which they are merged.
    package var least: Double
    /// The share of a layer's pages that must be dead for it to be merged at all.
    package var deadShare: Double
    /// Pages that must settle before layers are looked at again; more in a large file.
    package var settledPages: Int

    package init(most: Double = 2.05, least: Double = 2, deadShare: Double = 1 / 3, settledPages: Int = 4096) {
        self.most = most
        self.least = least
        self.deadShare = deadShare
        self.settledPages = settledPages
    }

    /// Whatever is dead is merged away, however little it is.
    package static let eager = MergePolicy(most: 1, least: 1, deadShare: 0.01, settledPages: 1)

    /// So many small layers side by side are merged whatever the rest takes, where that saves `deadShare` of them.
    private static let crowd = 32

    /// Chooses runs of layers, each to become one; `groups` are layers in order, between which nobody looks.
    func runs(of groups: [[LayerUse]]) -> [MergeRun] {
        let emptiest = emptiest(of: groups)
        return groups.enumerated().flatMap { group, layers in
            joined(emptiest[group, default: []].union(crowds(layers)), layers)
                .filter { LayerUse.isWorthwhile(layers[$0], deadShare) }
                .map { MergeRun(group: group, layers: $0) }
        }
    }

    /// The emptiest layers of each group: as many as bring what all take from above `most` to `least`, those aside that somebody
    /// pins: what a reader costs is what it pins, and no merging makes up for it.
    private func emptiest(of groups: [[LayerUse]]) -> [Int: Set<Int>] {
        let free = groups.map { $0.filter { !$0.isPinned } }
        var taken = free.reduce(0) { $0 + $1.reduce(0) { $0 + $1.taken } }
        let needed = free.reduce(0) { $0 + LayerUse.needed($1[...]) }
        guard Double(taken) > most * Double(needed) else { return [:] }
        var candidates: [(group: Int, layer: Int, dead: Double)] = []
        for (group, layers) in groups.enumerated() {
            for (layer, use) in layers.enumerated() where !use.isPinned && use.dead >= deadShare {
                candidates.append((group, layer, use.dead))
            }
        }
        candidates.sort { ($1.dead, $0.group, $0.layer) < ($0.dead, $1.group, $1.layer) }
        var chosen: [Int: Set<Int>] = [:]
        for candidate in candidates {
            guard Double(taken) > least * Double(needed) else { break }
            let use = groups[candidate.group][candidate.layer]
            taken -= Int(use.dead * Double(use.taken))
            chosen[candidate.group, default: []].insert(candidate.layer)
        }
        return chosen
    }

    private func crowds(_ layers: [LayerUse]) -> Set<Int> {
        var found: Set<Int> = []
        var start = 0
        for end in 0...layers.count where end == layers.count || !layers[end].isSmall {
            if end - start >= Self.crowd { found.formUnion(start..<end) }
            start = end + 1
        }
        return found
    }

    /// The runs that chosen layers make, each with the small ones beside it: so that these do not become many.
    private func joined(_ chosen: Set<Int>, _ layers: [LayerUse]) -> [Range<Int>] {
        var chosen = chosen
        for order in [Array(layers.indices), layers.indices.reversed()] {
            for (layer, next) in zip(order, order.dropFirst()) where chosen.contains(layer) && layers[next].isSmall {
                chosen.insert(next)
            }
        }
        var runs: [Range<Int>] = []
        for layer in chosen.sorted() {
            if let last = runs.last, last.upperBound == layer {
                runs[runs.count - 1] = last.lowerBound..<layer + 1
            } else {
                runs.append(layer..<layer + 1)
            }
        }
        return runs
    }
}

/// What a layer takes and what of it somebody sees.
struct LayerUse: Equatable, Sendable {
    /// Pages of the file: its parts' headers and whole pages.
    var taken: Int
    /// Entries that are seen, pages of zeros among them.
    var entries: Int
    /// Whole pages that are seen.
    var pages: Int
    /// Somebody may have its pages mapped: writing them again would free nothing.
    var isPinned = false

    /// `owners` is nil where the layer is its group's only one: nothing in it can be dead.
    init(_ row: VersionRow, _ index: Int, _ owners: PageOwners?) {
        let pages = Int(row.pageCount)
        self.init(
            taken: Int(row.partCount) + (owners?.written[index] ?? pages), entries: owners?.entries[index] ?? pages,
            pages: owners?.pages[index] ?? pages)
    }

    init(taken: Int, entries: Int, pages: Int, isPinned: Bool = false) {
        self.taken = taken
        self.entries = entries
        self.pages = pages
        self.isPinned = isPinned
    }

    /// The share of `taken` that goes where the layer is written again, together with others.
    var dead: Double {
        taken == 0 ? 1 : 1 - (Double(pages) + Double(entries) / Double(LayerPart.maximumEntries)) / Double(taken)
    }

    /// Far less than a part: writing it again with a neighbour costs next to nothing.
    var isSmall: Bool { !isPinned && taken <= LayerPart.maximumEntries / 8 }

    /// The pages that what is seen of `layers` takes in one record.
    static func needed(_ layers: ArraySlice<LayerUse>) -> Int {
        let entries = layers.reduce(0) { $0 + $1.entries }
        return layers.reduce(0) { $0 + $1.pages } + (entries + LayerPart.maximumEntries - 1) / LayerPart.maximumEntries
    }

    /// True where one record in the place of `layers` is so much smaller.
    static func isWorthwhile(_ layers: ArraySlice<LayerUse>, _ deadShare: Double) -> Bool {
        let taken = layers.reduce(0) { $0 + $1.taken }
        return Double(taken - needed(layers)) >= deadShare * Double(taken) && (taken > 0 || layers.count > 1)
    }
}

/// What merging found of all layers when it last looked, and what it made of them.
struct LayerSurvey {
    /// A group of several layers: their records, and which of them has each page.
    struct Group {
        var records: [UInt64]
        var owners: PageOwners
    }

    /// Each object's newest group, the only one that layers come to, by the number of the first record; where that takes little
    /// memory for the group's size.
    var groups: [UInt64: Group] = [:]
    /// What the layers of other groups take, by the numbers of their records.
    var uses: [[UInt64]: [LayerUse]] = [:]
    var leases: Set<LeaseInfo> = []
}

/// Adjacent layers of one group that are to become one.
struct MergeRun: Equatable, Sendable {
    var group: Int
    var layers: Range<Int>
}
