import PageStore
import PageStoreModel

extension PageStore {
    /// Performs a step here and in the model; true where all up to it is on the disk then, whatever the steps before it promised.
    func perform(_ step: Step, _ model: inout Model, _ scratch: Scratch) throws -> Bool {
        var planner = Planner(step)
        if let plan = planner.plan(step.kind, &model) {
            model.apply(plan, as: try scratch.commit(plan, to: self))
            return plan.durability == .synced
        }
        switch step.kind {
        case .settle:
            try settle()
            if planner.number(0...1) > 0 { try mergeWhereWorthwhile() }
            try checkpointWhereWorthwhile()
            return true
        case .flush:
            try flush()
            return true
        case .reclaim: try reclaim()
        case .optimize: if let id = planner.pick(model.state.keys.sorted()) { _ = try optimize(id) }
        default: break
        }
        return false
    }
}
