@testable import PageStore
import TestSupport
import Testing

/// Which layers a background merge takes, by the numbers alone.
@Suite struct MergePolicyTests {
    private func use(_ taken: Int, _ live: Int, pinned: Bool = false) -> LayerUse {
        LayerUse(taken: taken, entries: live, pages: live, isPinned: pinned)
    }

    @Test func nothingIsMergedWithinTheBound() {
        let policy = MergePolicy(most: 2, least: 1.9)
        #expect(policy.runs(of: []).isEmpty)
        #expect(policy.runs(of: [[]]).isEmpty)
        #expect(policy.runs(of: [[use(1000, 100), use(1000, 1000)]]).isEmpty)
    }

    @Test func theEmptiestLayersAreMergedAndNoMoreThanNeeded() {
        let policy = MergePolicy(most: 2, least: 1.9)
        // 4,000 taken where 1,700 and 9 headers are needed: 1,000 too many.
        let layers = [use(1000, 500), use(1000, 100), use(1000, 200), use(1000, 900)]
        #expect(policy.runs(of: [layers]) == [MergeRun(group: 0, layers: 1..<2)])
        let more = MergePolicy(most: 2, least: 1.5)
        #expect(more.runs(of: [layers]) == [MergeRun(group: 0, layers: 1..<3)])
        #expect(MergePolicy.eager.runs(of: [layers]) == [MergeRun(group: 0, layers: 0..<4)])
    }

    @Test func theBoundIsForAllGroupsTogether() {
        let policy = MergePolicy(most: 2, least: 1.9)
        #expect(policy.runs(of: [[use(1000, 100)], [use(9000, 9000)]]).isEmpty)
        let groups = [[use(1000, 400), use(3000, 400)], [use(1000, 100), use(2000, 1900)]]
        #expect(policy.runs(of: groups) == [MergeRun(group: 0, layers: 1..<2), MergeRun(group: 1, layers: 0..<1)])
    }

    @Test func whatIsPinnedIsLeftAlone() {
        let policy = MergePolicy(most: 2, least: 1.9)
        #expect(policy.runs(of: [[use(1000, 10, pinned: true), use(1000, 200)]]) == [MergeRun(group: 0, layers: 1..<2)])
        // What lives in the other one is not written again in vain.
        #expect(policy.runs(of: [[use(100_000, 10, pinned: true), use(1000, 900)]]).isEmpty)
        // And what a reader keeps is no room for others to be emptier in.
        let kept = use(5000, 5000, pinned: true)
        #expect(policy.runs(of: [[kept], [use(1000, 100), use(1000, 600)]]) == [MergeRun(group: 1, layers: 0..<1)])
        #expect(policy.runs(of: [[kept], [use(1000, 500), use(1000, 600)]]).isEmpty)
    }

    @Test func smallLayersGoWithTheirNeighbours() {
        let policy = MergePolicy(most: 2, least: 1.9)
        let layers = [use(3, 2), use(2, 1), use(4000, 1000), use(5, 4), use(2, 1, pinned: true), use(2, 1)]
        #expect(policy.runs(of: [layers]) == [MergeRun(group: 0, layers: 0..<4)])
        // Layers of one page each are half headers; many of them are merged though there is room.
        #expect(policy.runs(of: [Array(repeating: use(2, 1), count: 300)]) == [MergeRun(group: 0, layers: 0..<300)])
        #expect(policy.runs(of: [Array(repeating: use(21, 20), count: 300)]).isEmpty)
        #expect(policy.runs(of: [Array(repeating: use(2, 1, pinned: true), count: 300)]).isEmpty)
        // By itself a layer of one page stays what it is.
        #expect(MergePolicy.eager.runs(of: [[use(2, 1)]]).isEmpty)
    }

    @Test(arguments: ["uniform", "hot"])
    func spaceAndWritingStayBounded(_ choice: String) {
        let policy = MergePolicy()
        var generator = SeededGenerator(seed: 7)
        let count = 8192
        var owner = [Int](repeating: 0, count: count)
        var layers = [(id: 0, taken: count, live: count)]
        var nextID = 1
        var committed = 0
        var merged = 0
        var most = 0.0
        while committed < 10 * count {
            var index: [Int: Int] = [:]
            for (at, layer) in layers.enumerated() { index[layer.id] = at }
            layers.append((nextID, 0, 0))
            for _ in 0..<512 {
                let isHot = choice == "hot" && Int.random(in: 0..<10, using: &generator) > 0
                let page = Int.random(in: 0..<(isHot ? count / 64 : count), using: &generator)
                committed += 1
                guard owner[page] != nextID else { continue }
                layers[index[owner[page]]!].live -= 1
                owner[page] = nextID
                layers[layers.count - 1].taken += 1
                layers[layers.count - 1].live += 1
            }
            nextID += 1
            let taken = layers.reduce(0) { $0 + $1.taken }
            most = max(most, Double(taken) / Double(count))
            for run in policy.runs(of: [layers.map { use($0.taken, $0.live) }]).reversed() {
                let live = layers[run.layers].reduce(0) { $0 + $1.live }
                let ids = Set(layers[run.layers].map(\.id))
                for page in 0..<count where ids.contains(owner[page]) { owner[page] = nextID }
                layers.replaceSubrange(run.layers, with: [(nextID, live, live)])
                nextID += 1
                merged += live
            }
        }
        #expect(most < 2.2, "pages taken for each that lives")
        #expect(Double(merged) < 0.3 * Double(committed), "pages written again for each committed")
    }
}

/// Which layer has a page newest.
@Suite struct PageOwnersTests {
    private func page(_ number: UInt32) -> PageEntry { PageEntry(page: number, mask: PageEntry.wholePage, checksum: 1) }
    private func zeros(_ number: UInt32) -> PageEntry { PageEntry(page: number, mask: PageEntry.zeros, checksum: 0) }

    @Test func theNewestLayerOwnsAPage() {
        let owners = PageOwners()
        owners.beginLayer(floor: .max)
        for number: UInt32 in [0, 1, 5000] { owners.add(page(number)) }
        owners.beginLayer(floor: .max)
        owners.add(page(1))
        owners.add(zeros(5000))
        owners.add(zeros(7))
        #expect(owners.entries == [1, 3])
        #expect(owners.pages == [1, 1])
        #expect(owners.written == [3, 1])
        #expect([0, 1, 7, 8, 5000, UInt32.max].map { owners.owner(of: $0) } == [0, 1, 1, nil, 1, nil])
    }

    @Test func joinedLayersAreOne() {
        let owners = PageOwners()
        let layers: [[UInt32]] = [[0, 1, 2, 3], [1, 4], [2, 5, 5000], [3, 6], [0]]
        for layer in layers {
            owners.beginLayer(floor: .max)
            for number in layer { owners.add(number == 5 ? zeros(5) : page(number)) }
        }
        owners.join(1..<4)
        #expect(owners.entries == [0, 7, 1])
        #expect(owners.pages == [0, 6, 1])
        // What was merged has been written without what later layers had.
        #expect(owners.written == [4, 6, 1])
        #expect([0, 1, 2, 3, 4, 5, 6, 5000, 7].map { owners.owner(of: $0) } == [2, 1, 1, 1, 1, 1, 1, 1, nil])
        owners.beginLayer(floor: .max)
        owners.add(page(5))
        owners.add(page(4))
        #expect(owners.entries == [0, 5, 1, 2])
        #expect(owners.pages == [0, 5, 1, 2])
        owners.join(0..<4)
        #expect(owners.entries == [8])
        #expect(owners.written == [8])
        owners.join(0..<1)
        #expect(owners.entries == [8])
        #expect(owners.owner(of: 0) == 0)
    }

    @Test func aFloorCutsOffOlderLayersAlone() {
        let owners = PageOwners()
        owners.beginLayer(floor: .max)
        for number: UInt32 in [0, 1023, 1024, 1025, 9000] { owners.add(page(number)) }
        owners.beginLayer(floor: 1025)
        owners.add(page(9000))
        #expect(owners.entries == [3, 1])
        owners.beginLayer(floor: 0)
        #expect(owners.entries == [0, 0, 0])
        #expect(owners.written == [5, 1, 0])
        #expect(owners.owner(of: 9000) == nil)
    }
}
