internal import VMTypes

/// What two states of one object have in common, and the layers that each has over that.
struct StateFork {
    /// Layers of one segment, all or those above what is in common.
    struct Branch {
        var segment: PageStore.Segment
        /// The first version that is not in common; `segment.from` where the branch has all of the segment.
        var from: Version
        var isWhole: Bool { from == segment.from }
    }

    /// What the states have in common, as segments; not empty.
    var common: [PageStore.Segment]
    /// Newest first.
    var before: [Branch]
    var after: [Branch]

    /// nil where the states have nothing in common.
    init?(_ before: [PageStore.Segment], _ after: [PageStore.Segment]) {
        var mine = before.count
        var theirs = after.count
        while mine > 0, theirs > 0, before[mine - 1] == after[theirs - 1] {
            mine -= 1
            theirs -= 1
        }
        common = Array(before[mine...])
        func branches(_ segments: ArraySlice<PageStore.Segment>) -> [Branch] { segments.map { Branch(segment: $0, from: $0.from) } }
        guard mine > 0, theirs > 0, before[mine - 1].object == after[theirs - 1].object, before[mine - 1].from == after[theirs - 1].from
        else {
            if common.isEmpty { return nil }
            self.before = branches(before[..<mine])
            self.after = branches(after[..<theirs])
            return
        }
        // The older of the two ends where the other goes on.
        let (old, new) = (before[mine - 1], after[theirs - 1])
        common.insert(old.through < new.through ? old : new, at: 0)
        let end = common[0].through
        self.before = branches(before[..<(mine - 1)])
        self.after = branches(after[..<(theirs - 1)])
        if old.through > end { self.before.append(Branch(segment: old, from: end.next)) }
        if new.through > end { self.after.append(Branch(segment: new, from: end.next)) }
    }
}

/// What the layers of a branch come to.
struct BranchPages {
    /// The newest slot of each page that they have.
    private(set) var slots: [UInt32: PageTable.Slot] = [:]
    /// What lay under the first layer that has a page, where that is known without looking.
    private(set) var under: [UInt32: PageTable.Slot] = [:]
    /// Pages from here on have been cut off, but for those in `slots`.
    private(set) var floor = Int.max
    var size: UInt64

    init(size: UInt64) { self.size = size }

    mutating func cut(from floor: Int) {
        self.floor = min(self.floor, floor)
        for page in slots.keys where Int(page) >= floor { slots[page] = .zeros }
    }

    mutating func lay(_ slot: PageTable.Slot, over page: UInt32, replaced: PageTable.Slot? = nil) {
        if slots.updateValue(slot, forKey: page) == nil, let replaced { under[page] = replaced }
    }
}
