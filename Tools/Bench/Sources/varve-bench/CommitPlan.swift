/// How much of the commit benchmark is run.
struct CommitPlan {
    /// The numbers of pages a commit changes.
    static let pageCounts = [1, 16, 256, 4096]

    let objectBytes: Int
    let rounds: Int
    /// A slow engine takes part in fewer rounds, but in this many at least; with none, its warm-up counts.
    let fewestRounds: Int
    let secondsPerBatch: Double
    let mostCommitsPerBatch: Int

    static let quick = CommitPlan(
        objectBytes: 256 << 20, rounds: 3, fewestRounds: 0, secondsPerBatch: 0.15, mostCommitsPerBatch: 500)
    static let full = CommitPlan(
        objectBytes: 1 << 30, rounds: 6, fewestRounds: 3, secondsPerBatch: 0.75, mostCommitsPerBatch: 4000)

    /// The commits in a batch of an engine whose commits take `seconds` each.
    func commits(each seconds: Double) -> Int {
        min(max(Int(secondsPerBatch / seconds), 1), mostCommitsPerBatch)
    }

    /// The rounds that an engine whose commits take `seconds` each takes part in.
    func rounds(each seconds: Double) -> Int {
        min(max(Int(secondsPerBatch / seconds * Double(rounds)), fewestRounds), rounds)
    }
}
