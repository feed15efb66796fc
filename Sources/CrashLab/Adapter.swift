/// A program that lets the lab test a store: three commands of it, each a path and arguments.
///
/// - *work* FOLDER SEED: makes a store in the empty FOLDER and performs the operations that SEED stands for. After each that
///   counts it prints a line to its standard output: what it was promised then. Exits with 0.
/// - *recover* FOLDER: opens the store as after a crash, and prints a line that says what it found, since that was shown to
///   somebody. FOLDER may have no store yet: that prints nothing. Exits with 0.
/// - *check*: reads requests from its standard input until that ends. A request is a line `FOLDER SEED COUNT` and COUNT lines,
///   those that were printed. The answer is a line: `ok`, or what is wrong. That it ends instead is a finding too.
/// - *inspect* (where it has that): as *check*, of a store whose files somebody changed. An answer that begins with `refused` says
///   that the store itself noticed; one that begins with anything else but `ok` is a finding.
public struct Adapter: Sendable {
    public var work: [String]
    public var recover: [String]
    public var check: [String]
    /// nil: damaged files are not looked at.
    public var inspect: [String]?
    /// Looks at the smallest store, which `serve` makes where it is asked for `small` in the place of `work`; nil: there is none but the
    /// work's.
    public var inspectSmall: [String]?
    /// A program that performs work and recovery in processes of its own, as `crash_adapters.h` says; nil: there is none.
    public var serve: [String]?
    /// A variable that makes a process kill itself at its n-th step, where it is `*:n`.
    public var failpoints: String?

    /// The commands of one program, which is given their names as its first argument.
    public init(_ command: [String]) {
        work = command + ["work"]
        recover = command + ["recover"]
        check = command + ["check"]
    }
}
