/// How a sorted map lies in the heap: as a B+tree with nodes of about a page.
///
/// **Header**, 40 bytes: the beginning that all collections have, and the fields below.
///
/// **Node**: the fields below, then the keys one after the other, then, aligned, the values of a leaf or the offsets of an inner
/// node's children: one more than its keys. Keys are ascending. A key of an inner node is not greater than any key of the child
/// after it, and greater than all keys of the child before it; it is a copy that the node owns. All nodes have room for as
/// many keys as fit into 4 KiB, or for 4 where fewer do; only a leaf that is the root may be smaller.
@usableFromInline
enum BTreeFormat {
    @usableFromInline static var headerSize: Int { 40 }
    /// 8 bytes: the root's offset; 0 where there is no node.
    @usableFromInline static var root: Int { 16 }
    /// 4 bytes: levels of nodes.
    @usableFromInline static var height: Int { 24 }
    /// 4 bytes: from one key to the next.
    @usableFromInline static var keyStride: Int { 28 }
    /// 4 bytes: from one value to the next.
    @usableFromInline static var valueStride: Int { 32 }
    /// 4 bytes: what values are aligned to.
    @usableFromInline static var valueAlignment: Int { 36 }

    /// 4 bytes at 0: how many keys a node has.
    @usableFromInline static var nodeCount: Int { 0 }
    /// 4 bytes: how many keys it has room for.
    @usableFromInline static var nodeCapacity: Int { 4 }
    /// 8 bytes: its height above the leaves.
    @usableFromInline static var nodeLevel: Int { 8 }
    /// 8 bytes: the leaf after this one, or 0.
    @usableFromInline static var nextLeaf: Int { 16 }
    /// 8 bytes: the leaf before this one, or 0.
    @usableFromInline static var previousLeaf: Int { 24 }
    @usableFromInline static var firstKey: Int { 32 }

    @usableFromInline static var nodeSize: Int { 4096 }
    @usableFromInline static var maximumHeight: Int { 48 }

    @inlinable @inline(__always)
    static func rounded(_ value: Int, to alignment: Int) -> Int { (value &+ alignment &- 1) & ~(alignment &- 1) }
}
