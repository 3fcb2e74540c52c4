//! Where a port's machines are. A machine's states are those of its figure in IEEE 802.1D-2004; those that are left at once
//! are states as well.

/// Port Receive. Figure 17-12.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Receive {
    #[default]
    Discard,
    Receive,
}

/// Port Protocol Migration. Figure 17-13.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Migration {
    #[default]
    CheckingRstp,
    Sensing,
    SelectingStp,
}

/// Bridge Detection. Figure 17-14.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Detection {
    #[default]
    NotEdge,
    Edge,
}

/// Port Transmit. Figure 17-15.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Transmit {
    #[default]
    Init,
    Idle,
    Periodic,
    Config,
    Tcn,
    Rapid,
}

/// Port Information. Figure 17-16.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Information {
    #[default]
    Disabled,
    Aged,
    Update,
    Current,
    Receive,
    SuperiorDesignated,
    RepeatedDesignated,
    InferiorDesignated,
    NotDesignated,
    Other,
}

/// Port Role Transitions. Figures 17-18 to 17-21.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Transition {
    #[default]
    InitPort,
    DisablePort,
    DisabledPort,
    RootPort,
    RootProposed,
    RootAgreed,
    ReRoot,
    RootForward,
    RootLearn,
    ReRooted,
    DesignatedPort,
    DesignatedPropose,
    DesignatedSynced,
    DesignatedRetired,
    DesignatedForward,
    DesignatedLearn,
    DesignatedDiscard,
    BlockPort,
    AlternatePort,
    AlternateProposed,
    AlternateAgreed,
    BackupPort,
}

/// What a port does with frames. Port State Transition, figure 17-22.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Traffic {
    /// Nothing passes.
    #[default]
    Discarding,
    /// Nothing passes, addresses are learned.
    Learning,
    /// Everything passes.
    Forwarding,
}

/// Topology Change. Figure 17-23.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Topology {
    #[default]
    Inactive,
    Learning,
    Detected,
    NotifiedTcn,
    NotifiedTc,
    Propagating,
    Acknowledged,
    Active,
}

/// The states of all of a port's machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct States {
    pub receive: Receive,
    pub migration: Migration,
    pub detection: Detection,
    pub transmit: Transmit,
    pub information: Information,
    pub transition: Transition,
    pub traffic: Traffic,
    pub topology: Topology,
}
