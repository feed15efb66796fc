/// Which runs of units are free, by length; volatile, made from the unit table.
///
/// Boundary tags (Knuth): the first and the last unit of a run know its length, so that a freed run finds its free
/// neighbours at once. Runs of one length class are a doubly linked list; lists are found by a mask.
///
/// Invariant: `nodes` has a node for each unit and one more, zeros at first; unit numbers are stored plus one, 0 for none.
/// Guarded by the central lock.
struct RunIndex {
    struct Node {
        /// Units of the free run that begins or ends here; 0 elsewhere.
        var length: UInt32
        var next: UInt32
        var previous: UInt32
    }

    private let nodes: UnsafeMutablePointer<Node>
    private var heads = [UInt32](repeating: 0, count: 64)
    private var mask: UInt64 = 0
    /// One past the last unit that may be in use; what lies above is free, and in no list.
    private(set) var end = 0

    init(nodes: UnsafeMutablePointer<Node>) { self.nodes = nodes }

    /// Reads the free runs below `end` out of the unit table.
    mutating func rebuild(table: UnsafePointer<UInt8>, end: Int) {
        heads = [UInt32](repeating: 0, count: 64)
        mask = 0
        nodes.update(repeating: Node(length: 0, next: 0, previous: 0), count: max(self.end, end) + 1)
        var last = end
        while last > 0, table[last - 1] == HeapFormat.free { last -= 1 }
        self.end = last
        var unit = 0
        while unit < last {
            guard table[unit] == HeapFormat.free else {
                unit += 1
                continue
            }
            let start = unit
            while table[unit] == HeapFormat.free { unit += 1 }
            insert(start, unit - start)
        }
    }

    /// Lengths 1 … 32 have a list each, then four share a doubling's range each.
    private static func list(_ length: Int) -> Int {
        if length <= 32 { return length - 1 }
        let shift = Int.bitWidth - 1 - length.leadingZeroBitCount
        return min(63, 32 + (shift - 5) * 2 + (length >> (shift - 1)) & 1)
    }

    private mutating func insert(_ start: Int, _ length: Int) {
        let list = Self.list(length)
        let head = heads[list]
        nodes[start + length - 1] = Node(length: UInt32(length), next: 0, previous: 0)
        nodes[start] = Node(length: UInt32(length), next: head, previous: 0)
        if head != 0 { nodes[Int(head) - 1].previous = UInt32(start + 1) }
        heads[list] = UInt32(start + 1)
        mask |= 1 << UInt64(list)
    }

    private mutating func remove(_ start: Int) {
        let node = nodes[start]
        let length = Int(node.length)
        if node.previous != 0 {
            nodes[Int(node.previous) - 1].next = node.next
        } else {
            let list = Self.list(length)
            heads[list] = node.next
            if node.next == 0 { mask &= ~(1 << UInt64(list)) }
        }
        if node.next != 0 { nodes[Int(node.next) - 1].previous = node.previous }
        nodes[start + length - 1] = Node(length: 0, next: 0, previous: 0)
        nodes[start] = Node(length: 0, next: 0, previous: 0)
    }

    /// Takes `count` units that begin at a multiple of `alignment` units, `offset` units on; nil where `limit` units don't
    /// have them.
    mutating func take(_ count: Int, limit: Int, alignment: Int = 1, offset: Int = 0) -> Int? {
        let wanted = count + alignment - 1
        // Long lists hold lengths below the wanted one too: they are searched to their ends only where nothing else is left.
        if let start = find(wanted, tries: 64) { return split(start, count, alignment, offset) }
        let aligned = Self.align(end, alignment, offset)
        guard aligned + count <= limit else {
            return find(wanted, tries: .max).map { split($0, count, alignment, offset) }
        }
        if aligned > end { insertAbove(aligned) }
        end = aligned + count
        return aligned
    }

    private func find(_ wanted: Int, tries: Int) -> Int? {
        var lists = mask & (~0 << UInt64(Self.list(wanted)))
        while lists != 0 {
            var candidate = heads[lists.trailingZeroBitCount]
            lists &= lists - 1
            var left = tries
            while candidate != 0, left > 0 {
                let start = Int(candidate) - 1
                if Int(nodes[start].length) >= wanted { return start }
                candidate = nodes[start].next
                left -= 1
            }
        }
        return nil
    }

    /// Takes exactly `start ..< start + count` where that is free.
    mutating func take(at start: Int, _ count: Int, limit: Int) -> Bool {
        if start == end {
            guard end + count <= limit else { return false }
            end += count
            return true
        }
        let length = Int(nodes[start].length)
        guard start < end, length >= count, isStart(start) else { return false }
        remove(start)
        if length > count { insert(start + count, length - count) }
        return true
    }

    /// Gives a run back, joined with its free neighbours.
    mutating func give(_ start: Int, _ count: Int) {
        var start = start, count = count
        if start > 0, nodes[start - 1].length != 0 {
            let before = Int(nodes[start - 1].length)
            remove(start - before)
            start -= before
            count += before
        }
        if start + count < end, nodes[start + count].length != 0 {
            let after = Int(nodes[start + count].length)
            remove(start + count)
            count += after
        }
        if start + count == end { end = start } else { insert(start, count) }
    }

    /// The free runs in the lists, in no order.
    var freeRuns: [Range<Int>] {
        heads.flatMap { head in
            var found: [Range<Int>] = []
            var next = head
            while next != 0 {
                let start = Int(next) - 1
                found.append(start..<start + Int(nodes[start].length))
                next = nodes[start].next
            }
            return found
        }
    }

    private func isStart(_ unit: Int) -> Bool {
        let length = Int(nodes[unit].length)
        guard length > 0 else { return false }
        // The last unit of a longer run has a length too, but no node in a list leads to it.
        if nodes[unit].previous != 0 { return nodes[Int(nodes[unit].previous) - 1].next == UInt32(unit + 1) }
        return heads[Self.list(length)] == UInt32(unit + 1)
    }

    private mutating func split(_ start: Int, _ count: Int, _ alignment: Int, _ offset: Int) -> Int {
        let length = Int(nodes[start].length)
        remove(start)
        let aligned = Self.align(start, alignment, offset)
        if aligned > start { insert(start, aligned - start) }
        let rest = start + length - (aligned + count)
        if rest > 0 { insert(aligned + count, rest) }
        return aligned
    }

    private mutating func insertAbove(_ aligned: Int) {
        let start = end
        end = aligned
        // Its lower neighbour may be free: no, `give` lowers the end past free runs.
        insert(start, aligned - start)
    }

    private static func align(_ unit: Int, _ alignment: Int, _ offset: Int) -> Int {
        (unit + offset + alignment - 1) / alignment * alignment - offset
    }
}
