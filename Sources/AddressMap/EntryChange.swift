/// What a call did to one run of addresses: its entry before and after, both clipped to that run.
public struct EntryChange: Hashable, Sendable {
    /// The run as it was.
    public let before: MapEntry
    /// The run as it is now; `start` and `end` are those of `before`.
    public let after: MapEntry

    /// The addresses concerned.
    public var range: Range<UInt64> { before.range }
}
