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

    @Test("what was stored to makes a table hold all of its pages at most, until they are counted")
    func held() {
        var ages = ages()
        ages.looked([PageRange(start: 0, count: 10), PageRange(start: 500, count: 20)])
        #expect(ages.held(0) == 22)
        #expect(ages.held(1) == 8)
        for _ in 0..<100 { ages.looked([PageRange(start: 0, count: 512)]) }
        #expect(ages.held(0) == 512)
        #expect(ages.heldPages == 520)
        #expect(ages.holding == [0, 1])
        ages.counted(0, 3)
        ages.counted(1, 0)
        ages.counted(3, 0)
        #expect(ages.heldPages == 3)
        #expect(ages.holding == [0])
        #expect(ages.age(0) == 0)
        #expect(ages.age(1) == 100)
        #expect(ages.age(3) == 101)
    }

    @Test("tables far from each other are kept apart")
    func sparse() {
        var ages = ages(1 << 28)
        let far = (1 << 28) - 1
        ages.looked([PageRange(start: far, count: 1)])
        ages.looked([PageRange(start: 5, count: 1)])
        #expect(ages.holding == [0, ages.table(of: far)])
        #expect(ages.age(ages.table(of: far)) == 1)
        #expect(ages.lastStored(ages.table(of: far)) == 1)
        #expect(ages.lastStored(1) == 0)
    }
}
