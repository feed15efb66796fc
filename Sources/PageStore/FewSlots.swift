/// The slots of some pages of an object; of no other page anything is known.
///
/// Invariant: `pages` are ascending and as many as `slots`.
struct FewSlots {
    private(set) var pages: [UInt32] = []
    private var slots: [PageTable.Slot] = []

    init() {}

    /// - Parameter pages: Ascending.
    init(_ pages: [UInt32], _ slots: [PageTable.Slot]) {
        precondition(pages.count == slots.count, "each page has a slot")
        self.pages = pages
        self.slots = slots
    }

    var isEmpty: Bool { pages.isEmpty }

    /// Calls `body` with each page and its slot.
    func forEach(_ body: (Int, PageTable.Slot) -> Void) { for (page, slot) in zip(pages, slots) { body(Int(page), slot) } }

    /// What is set of a page that is not known is forgotten.
    subscript(page: Int) -> PageTable.Slot {
        get { index(of: page).map { slots[$0] } ?? .zeros }
        set { if let index = index(of: page) { slots[index] = newValue } }
    }

    private func index(of page: Int) -> Int? {
        let index = pages.partitioningIndex { Int($0) >= page }
        return index < pages.count && Int(pages[index]) == page ? index : nil
    }
}
