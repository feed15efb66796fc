@testable import HostMemory
import Testing
import VMTypes

@Suite("Ages of page tables")
struct AgesTests {
    private func ages(_ count: Int = 2048) -> TableAges {
        TableAges(pages: PageRange(start: 0, count: count), firstPageNumber: 512)
    }

    @Test("tables lie at boundaries of addresses")
    func tables() {
        let ages = TableAges(pages: PageRange(start: 10, count: 1000), firstPageNumber: 512 * 9 + 500)
        #expect(ages.count == 3)
        #expect(ages.pages(of: 0) == PageRange(start: 10, count: 12))
        #expect(ages.pages(of: 1) == PageRange(start: 22, count: 512))
        #expect(ages.pages(of: 2) == PageRange(start: 534, count: 476))
        for page in 10..<1010 { #expect(ages.pages(of: ages.table(of: page)).contains(page)) }
    }

    @Test("what was stored to is counted once a table at most, and released")
    func held() {
        var ages = ages()
        ages.looked([PageRange(start: 0, count: 10), PageRange(start: 500, count: 20)])
        #expect(ages.held(0) == 22)
        #expect(ages.held(1) == 8)
        for _ in 0..<100 { ages.looked([PageRange(start: 0, count: 512)]) }
        #expect(ages.held(0) == 512)
        #expect(ages.heldPages == 520)
        ages.released(0)
        #expect(ages.heldPages == 8)
        #expect(ages.age(0) == 0)
        #expect(ages.age(1) == 100)
    }

    @Test("trading waits longer where traded tables are soon stored to again, and less where they are not")
    func patience() {
        var ages = ages()
        #expect(ages.patience == TableAges.leastPatience)
        for _ in 0..<32 {
            ages.released(0)
            ages.looked([PageRange(start: 0, count: 1)])
        }
        #expect(ages.patience == 2 * TableAges.leastPatience)
        for _ in 0..<64 {
            for _ in 0..<1000 { ages.looked([]) }
            ages.released(1)
        }
        #expect(ages.patience == TableAges.leastPatience)
    }
}
