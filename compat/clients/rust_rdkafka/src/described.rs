//! A group as DescribeConsumerGroups describes it. The crate does not wrap that call: it is made by its bindings to librdkafka.

use std::ffi::CString;
use std::ptr;

use rdkafka::bindings::*;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::clients::Admin;
use crate::scenario::{DEADLINE, Outcome};

#[derive(Debug)]
pub struct Described {
    pub of_new_protocol: bool,
    pub members: usize,
}

pub fn described(admin: &Admin, group: &str) -> Outcome<Described> {
    let name = CString::new(group)?;
    let client = admin.inner().native_ptr();
    // SAFETY: the client lives as long as `admin`; the queue and the event are destroyed once, after their last use.
    unsafe {
        let queue = rd_kafka_queue_new(client);
        rd_kafka_DescribeConsumerGroups(client, &mut name.as_ptr(), 1, ptr::null(), queue);
        let event = rd_kafka_queue_poll(queue, DEADLINE.as_millis() as i32);
        let found = if event.is_null() { Err(KafkaError::Canceled.into()) } else { first_of(event) };
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        found
    }
}

/// The first group of an answer.
///
/// # Safety
/// The event must be there, and outlive the call.
unsafe fn first_of(event: *mut rd_kafka_event_t) -> Outcome<Described> {
    unsafe {
        failed(rd_kafka_event_error(event))?;
        let mut count = 0;
        let groups = rd_kafka_DescribeConsumerGroups_result_groups(event, &mut count);
        let group = *groups;
        failed(rd_kafka_error_code(rd_kafka_ConsumerGroupDescription_error(group)))?;
        let protocol = rd_kafka_ConsumerGroupDescription_type(group);
        Ok(Described {
            of_new_protocol: protocol == rd_kafka_consumer_group_type_t::RD_KAFKA_CONSUMER_GROUP_TYPE_CONSUMER,
            members: rd_kafka_ConsumerGroupDescription_member_count(group),
        })
    }
}

fn failed(code: rd_kafka_resp_err_t) -> Outcome {
    match RDKafkaErrorCode::from(code) {
        RDKafkaErrorCode::NoError => Ok(()),
        code => Err(KafkaError::AdminOp(code).into()),
    }
}
