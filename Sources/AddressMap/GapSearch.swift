/// A search, in address order, for the first gap that takes `length` bytes at an allowed address.
///
/// Subtrees whose gaps are all too small, or end before the smallest address still in question, are
/// skipped. Where the mask rules nothing out the search is O(log n); at worst it looks once at each gap
/// that is large enough but holds no allowed address.
struct GapSearch {
    /// How the search stands.
    enum State: Equatable {
        /// No gap that was looked at takes the length.
        case searching
        /// The smallest address that takes the length.
        case found(UInt64)
        /// No allowed address is left in 64 bits.
        case exhausted
    }

    /// The bytes wanted; not 0.
    let length: UInt64
    /// What the address must satisfy.
    let mask: AlignmentMask
    /// No address below this is an answer.
    private(set) var candidate: UInt64
    private(set) var state = State.searching

    /// A search for `length` bytes from `hint` upwards.
    init(length: UInt64, mask: AlignmentMask, hint: UInt64) {
        self.length = length
        self.mask = mask
        candidate = hint
    }

    /// Looks at the gap [`start`, `end`), and says whether the search is over.
    private mutating func visit(from start: UInt64, to end: UInt64) -> Bool {
        guard end > start, end - start >= length, end > candidate else { return false }
        guard let address = mask.next(notBelow: max(candidate, start)) else {
            state = .exhausted
            return true
        }
        candidate = address
        guard end > address, end - address >= length else { return false }
        state = .found(address)
        return true
    }

    /// Looks at the gaps between the entries of `tree`, and says whether the search is over.
    private mutating func visit(_ tree: EntryTree) -> Bool {
        guard tree.largestGap >= length, tree.last > candidate else { return false }
        let begin = tree.index(endingAfter: candidate)
        for index in begin..<tree.width {
            if tree.isLeaf {
                if index > 0, visit(from: tree.entries[index - 1].end, to: tree.entries[index].start) {
                    return true
                }
            } else {
                if index > 0, visit(from: tree.children[index - 1].last, to: tree.children[index].first) {
                    return true
                }
                if visit(tree.children[index]) { return true }
            }
        }
        return false
    }

    /// The smallest allowed address within `bounds` at which `length` bytes of `tree` are free.
    mutating func run(in tree: EntryTree, bounds: Range<UInt64>) -> UInt64? {
        if tree.isEmpty {
            _ = visit(from: bounds.lowerBound, to: bounds.upperBound)
        } else {
            _ =
                visit(from: bounds.lowerBound, to: tree.first) || visit(tree)
                || visit(from: tree.last, to: bounds.upperBound)
        }
        if case .found(let address) = state { return address }
        return nil
    }
}
