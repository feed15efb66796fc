/// What `varve` exits with; published, so that scripts may rely on it.
public struct ExitStatus: RawRepresentable, Hashable, Sendable {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// The command did what it was asked.
    public static let success = ExitStatus(rawValue: 0)
    /// `diff` found differences, `heap leaks` leaks, or `crashlab` violations.
    public static let differences = ExitStatus(rawValue: 1)
    /// The command failed, for a reason without a code of its own.
    public static let failure = ExitStatus(rawValue: 2)
    /// The path holds no store.
    public static let noStore = ExitStatus(rawValue: 10)
    /// Another process is the store's writer.
    public static let locked = ExitStatus(rawValue: 11)
    /// Bytes on disk are not what was written, or the store's files do not belong together.
    public static let damaged = ExitStatus(rawValue: 12)
    /// The store was made by a newer format than this build knows.
    public static let newerFormat = ExitStatus(rawValue: 13)
    /// The command line is malformed, or lacks `--yes`.
    public static let usage = ExitStatus(rawValue: 64)

    /// The codes and their meanings in one line.
    static let summary = """
        0 done, 1 differences, leaks, violations, 2 failed, 10 no store, 11 locked by another process, 12 damaged, \
        13 made by a newer format, 64 wrong usage
        """
}
