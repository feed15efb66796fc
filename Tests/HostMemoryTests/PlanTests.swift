import Testing
import TestSupport
import VMTypes

@testable import HostMemory

@Suite("Layout of a mapping")
struct PlanTests {
    private func plan(
        _ pieces: [(RunKind, Int)], minimumRun: Int = 16, demandFill: Bool = true, budget: Int = 1000
    ) -> MappingPlan {
        var runs: [(pages: PageRange, kind: RunKind)] = []
        for (kind, count) in pieces {
            runs.append((PageRange(start: runs.last?.pages.end ?? 0, count: count), kind))
        }
        let all = PageRange(start: 0, count: runs.last?.pages.end ?? 0)
        return MappingPlan(runs, pages: all, minimumRun: minimumRun, demandFill: demandFill, budget: budget)
    }

    @Test("short runs share one area, long ones get their own")
    func areas() {
        let found = plan([
            (.zero, 10), (.fill, 3), (.file(offset: 0), 5), (.file(offset: 4096 * 100), 20), (.zero, 30), (.zero, 100),
            (.fill, 1), (.beyondEnd, 5),
        ])
        #expect(found.areas.map(\.pages.count) == [18, 20, 130, 1])
        #expect(found.areas.map(\.backing) == [.demand, .file(offset: 409600), .plain, .demand])
        #expect(found.live == PageRange(start: 0, count: 169))
        #expect(found.area(holding: 168)?.backing == .demand)
        #expect(found.area(holding: 169) == nil)
    }

    @Test("neighbours in the file are one run; misaligned ones are filled")
    func files() {
        let found = plan([(.file(offset: 0), 8), (.file(offset: 8 * 4096), 8), (.file(offset: 17), 40)])
        #expect(found.areas.map(\.backing) == [.file(offset: 0), .demand])
    }

    @Test("what can't come on demand is copied")
    func copies() {
        let found = plan(
            [(.zero, 10), (.fill, 3), (.file(offset: 0), 5), (.zero, 200), (.fill, 1)], demandFill: false)
        #expect(found.areas.count == 1)
        #expect(found.copies == [PageRange(start: 10, count: 8), PageRange(start: 218, count: 1)])
    }

    @Test("the number of mappings stays within the budget")
    func budget() {
        let pieces = (0..<1000).flatMap { index -> [(RunKind, Int)] in
            [(.file(offset: index << 20), 16 + index % 30), (.zero, 1)]
        }
        for budget in [1, 2, 10, 100, 500, 5000] {
            #expect(plan(pieces, budget: budget).areas.count <= budget)
        }
    }
}
