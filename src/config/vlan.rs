//! The keys that say which VLANs a port has.

use std::sync::Arc;

use engine::PortVlans;
use packet::{Vid, VidSet};

use super::read::{Read, Wrong, number, text};
use super::table::{Given, Maybe, Table};
use crate::mistake::Mistake;

/// `vlan`, `trunk` and `qinq` of a port.
pub(super) struct VlanTable {
    vlan: Maybe<Vid>,
    trunk: Maybe<Trunk>,
    qinq: Maybe<Vid>,
}

/// Which VLANs pass with their tags.
enum Trunk {
    All,
    These(Arc<VidSet>),
}

impl VlanTable {
    pub(super) fn read(table: &mut Table<'_, '_>) -> Self {
        Self {
            vlan: table.optional("vlan", vid),
            trunk: table.optional("trunk", text(trunk)),
            qinq: table.optional("qinq", vid),
        }
    }

    /// What the keys say together.
    pub(super) fn vlans(&self, mistakes: &mut Vec<Mistake>) -> PortVlans {
        if let Some(qinq) = self.qinq.value() {
            for place in [self.vlan.place(), self.trunk.place()].into_iter().flatten() {
                let message = "a port with `qinq` has one VLAN, around whatever comes";
                mistakes.push(Mistake::new(place, message, "remove the key, or `qinq`"));
            }
            return PortVlans::Tunnel(*qinq);
        }
        let native = self.vlan.value().copied();
        let tagged = match (self.trunk.value(), native) {
            (None | Some(Trunk::All), None) => return PortVlans::All,
            (None, Some(vlan)) => return PortVlans::Access(vlan),
            (Some(Trunk::All), Some(_)) => Arc::new(VidSet::all_tagged()),
            (Some(Trunk::These(vids)), _) => Arc::clone(vids),
        };
        if let (Some(place), Some(vlan), true) = (self.trunk.place(), native, tagged.contains(Vid::UNTAGGED))
        {
            let message = format!("VLAN 0 is that of untagged frames, which are of VLAN {vlan} here");
            mistakes.push(Mistake::new(place, message, "remove 0 from the list, or the key `vlan`"));
        }
        PortVlans::Trunk { native, tagged }
    }
}

/// A VLAN that a tag can name.
pub(super) fn vid(value: &toml::de::DeValue<'_>) -> Read<Vid> {
    let number = number(1..=Vid::LAST.get().into(), "")(value);
    let number = number.map_err(|wrong| Wrong { help: NUMBER.to_owned(), ..wrong })?;
    Ok(Vid::new(number as u16).unwrap_or(Vid::LAST))
}

fn trunk(list: &str) -> Read<Trunk> {
    if list == "all" {
        return Ok(Trunk::All);
    }
    list.parse().map(|vids| Trunk::These(Arc::new(vids))).map_err(|_| {
        let help = "write VLANs from 1 to 4094 and ranges of them, for example \"20,30-39\", or \"all\"";
        Wrong::new(format!("`{list}` is no list of VLANs"), help)
    })
}

const NUMBER: &str = "write a VLAN from 1 to 4094, without quotes";
